"""A recovery as one self-contained HTML file: no script, no request to anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape
from importlib.resources import files
from string import Template

from opsctl.model.events import Outcome
from opsctl.model.recovery import Climb, Criterion, Recovery
from opsctl.model.units import show_duration, show_size
from opsctl.model.why import Why
from opsctl.render.recover import headline, wrong

_CLASSES = {
    Outcome.CHANGED: "healthy",
    Outcome.UNCHANGED: "info",
    Outcome.FAILED: "problem",
    Outcome.SKIPPED: "warning",
    None: "info",
}


def recovery_html(found: Sequence[Recovery], *, redact: Callable[[str], str]) -> str:
    """The whole file for one droplet or several; nothing secret is in it."""
    template = Template(files("opsctl.render").joinpath("report.html").read_text(encoding="utf-8"))
    names = ", ".join(each.droplet for each in found) or "no droplet"
    body = "\n".join(_droplet(each) for each in found)
    return template.substitute(title=escape(f"Recovery of {names}"), body=redact(body))


def _droplet(found: Recovery) -> str:
    text, good = headline(found)
    kind = "healthy" if good else "problem"
    cards = (
        _card("What was wrong", _sentences(wrong(found))),
        _card("What was done", _list(map(_climb, found.climbs))),
        _card("Criteria", _list(map(_criterion, found.criteria))),
        _card("Services", _services(found)),
        _card("Evidence before", _evidence(found.before)),
        _card("Evidence after", _evidence(found.after)),
        _card("Next", _list(f"<code>{escape(line)}</code>" for line in found.advice)),
    )
    head = f'<h1>{escape(found.droplet)}</h1><p class="{kind}"><strong>{escape(text)}</strong></p>'
    soft = f'<p class="soft">{escape(_boots(found))}</p>'
    return f"<header>{head}{soft}</header>{_tiles(found)}" + "".join(cards)


def _card(title: str, body: str) -> str:
    return f'<section class="card"><h2>{escape(title)}</h2>{body}</section>' if body else ""


def _list(items: Iterable[str]) -> str:
    rows = "".join(f"<li>{each}</li>" for each in items)
    return f"<ul>{rows}</ul>" if rows else ""


def _sentences(lines: Sequence[str]) -> str:
    return "".join(f"<p>{escape(line)}</p>" for line in lines)


def _boots(found: Recovery) -> str:
    if found.boot_after and found.boot_after != found.boot_before:
        return f"boot {found.boot_before or 'unknown'} → {found.boot_after}"
    return f"boot {found.boot_after or found.boot_before or 'unknown'}"


def _tiles(found: Recovery) -> str:
    now = found.after or found.before
    held = sum(1 for each in found.criteria if each.ok)
    tiles = [
        (show_duration(found.seconds), "from the first look to the last"),
        (f"{held} of {len(found.criteria)}", "criteria hold"),
        (str(len(found.back)), "services up"),
    ]
    if now is not None:
        tiles.append((show_size(now.memory.available), f"available of {show_size(now.memory.total)}"))
    shown = "".join(
        f'<div class="tile"><b>{escape(v)}</b><span class="soft">{escape(k)}</span></div>' for v, k in tiles
    )
    return f'<div class="tiles">{shown}</div>'


def _climb(climb: Climb) -> str:
    word = climb.outcome.value if climb.outcome else "would be tried"
    took = f' <span class="soft">{escape(show_duration(climb.seconds))}</span>' if climb.seconds >= 0.05 else ""
    pill = f'<span class="pill {_CLASSES[climb.outcome]}">{escape(word)}</span>'
    detail = "" if climb.outcome is None else f'<br><span class="soft">{escape(climb.detail)}</span>'
    return f"<b>{escape(climb.title)}</b>{pill}{took}{detail}"


def _criterion(each: Criterion) -> str:
    word, kind = {True: ("holds", "healthy"), False: ("fails", "problem"), None: ("unknown", "warning")}[each.ok]
    level = "" if each.level == "minimum" else " (optimal)"
    pill = f'<span class="pill {kind}">{word}</span>'
    seen = f'<br><span class="soft">wanted: {escape(each.wanted)}{level}; seen: {escape(each.seen)}</span>'
    return f"<b>{escape(each.name)}</b>{pill}{seen}"


def _services(found: Recovery) -> str:
    up = f"<p>up: {escape(', '.join(found.back))}</p>" if found.back else ""
    rows = (
        f"<b>{escape(each.service)}</b>{escape(each.why)}<code>{escape(each.next)}</code>" for each in found.missing
    )
    return up + _list(rows)


def _evidence(why: Why | None) -> str:
    if why is None:
        return ""
    return _list(f"<b>{escape(each.source)}</b>{escape(each.text)}" for each in why.evidence)
