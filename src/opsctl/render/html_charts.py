"""Small charts as inline SVG that stretch to any width."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

_COLOURS = {
    "healthy": "good",
    "under-used": "cool",
    "at-risk": "bad",
    "redundant": "services",
    "no-limit": "warn",
    "unknown": "warn",
    "info": "residual",
}


@dataclass(frozen=True)
class Part:
    """One piece of a stacked bar; `colour` names a CSS variable."""

    name: str
    size: int
    colour: str
    label: str


def stacked(parts: Iterable[Part], total: int) -> str:
    """All parts side by side, each as wide as its share of the total."""
    pieces, at, given = [], 0.0, list(parts)
    whole = max(total, sum(max(0, part.size) for part in given), 1)
    for part in given:
        width = 100 * max(0, part.size) / whole
        title = f"<title>{escape(part.label)}</title>"
        pieces.append(f'<rect x="{at:.3f}" width="{width:.3f}" height="10" fill="var(--{part.colour})">{title}</rect>')
        at += width
    label = escape(", ".join(part.label for part in given))
    return _svg("stack", label, "".join(pieces))


def bar(size: int, room: int, kind: str, *, label: str, tick: int | None = None) -> str:
    """A bar in its track, with an optional tick (a peak)."""
    width = 100 * min(1.0, size / room) if room else 0.0
    fill = f'<rect width="{width:.3f}" height="10" fill="var(--{_COLOURS.get(kind, "residual")})"/>'
    if tick is not None and room:
        x = min(99.4, 100 * tick / room)
        fill += f'<rect x="{x:.3f}" width="0.6" height="10" fill="var(--text)"><title>peak</title></rect>'
    return _svg("bar", escape(label), fill)


def _svg(kind: str, label: str, body: str) -> str:
    box = 'viewBox="0 0 100 10" preserveAspectRatio="none"'
    return f'<svg class="{kind}" role="img" aria-label="{label}" {box}>{body}</svg>'
