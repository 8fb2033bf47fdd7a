"""How the memory report looks: on terminals, in a chat, and in a browser."""

from __future__ import annotations

import html
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from opsctl.docker import collect
from opsctl.jobs.memory import report
from opsctl.model.memory import MemoryReport
from opsctl.model.stack import Droplet, Redundant, Stack
from opsctl.render.html_report import html_report
from opsctl.render.memory import print_report
from opsctl.render.memory_text import text_report

RECORDED = Path(__file__).parent.parent / "docker" / "recorded"
DROPLET = Droplet("agents", "root@192.0.2.1")
STACK = Stack(None, {"agents": DROPLET}, {}, redundant={"prometheus": Redundant("Grafana Cloud <receives> the same")})
MEASURE = """<script>document.getElementById("f").onload = (event) => {
  const page = event.target.contentDocument, root = page.documentElement;
  const right = (each) => each.getBoundingClientRect().right;
  const charts = [...page.querySelectorAll("svg")];
  document.body.dataset.measured = JSON.stringify({
    scroll: root.scrollWidth, client: root.clientWidth, charts: charts.length,
    wide: [...page.querySelectorAll("body *")].filter((each) => right(each) > root.clientWidth + 1).length,
    drawn: charts.filter((each) => each.getBoundingClientRect().height > 4).length,
  });
}</script>"""
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def seen(name: str = "memory-v1-nested.txt") -> MemoryReport:
    """The report of a recorded droplet."""
    return report(collect.facts((RECORDED / name).read_bytes()), STACK, DROPLET)


def long_names(shown: MemoryReport) -> MemoryReport:
    """The same with names nobody would choose."""
    renamed = tuple(replace(each, service=each.label * 6) for each in shown.containers)
    return replace(shown, droplet="d" * 70, containers=renamed, summary="word " * 20 + "x" * 90)


def on_terminal(shown: MemoryReport, width: int, *, colour: bool = False) -> str:
    """What a terminal of that width gets."""
    out = io.StringIO()
    console = Console(file=out, width=width, highlight=False, force_terminal=colour, no_color=not colour)
    print_report(shown, console)
    return out.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize(
    "make", [seen, lambda: seen("memory-v2-vm.txt"), lambda: long_names(seen())], ids=["nested", "vm", "long names"]
)
def test_no_line_is_wider_than_the_terminal(width: int, make: object) -> None:
    shown = on_terminal(make(), width)  # type: ignore[operator]
    assert max(map(len, shown.splitlines())) <= width


def test_without_colour_every_word_is_still_there() -> None:
    shown = on_terminal(seen(), 80)
    assert "\x1b" not in shown
    words = ("containers", "Docker itself", "services", "kernel", "cache", "free", "residual", "no limit", "redundant")
    assert [word for word in words if word not in shown] == []
    assert re.search(r"^ eater .* stopped", shown, re.MULTILINE)
    assert "→ opsctl stop prometheus" in shown


def test_a_wide_terminal_has_room_for_reasons() -> None:
    assert "it never bites" not in on_terminal(seen(), 80).split("Limits")[0]
    assert "it never bites" in on_terminal(seen(), 140).split("Limits")[0]


def test_unknown_is_written_as_unknown() -> None:
    blind = replace(seen(), ooms=None, disk=replace(seen().disk, images=None, volumes=None, logs=None))
    assert on_terminal(blind, 80).count("unknown") >= 3
    assert "unknown" in html_report([blind])


@pytest.mark.parametrize(
    "make", [seen, lambda: seen("memory-v2-vm.txt"), lambda: long_names(seen())], ids=["nested", "vm", "long names"]
)
def test_chat_lines_have_forty_characters_at_most(make: object) -> None:
    text = text_report(make())  # type: ignore[operator]
    assert max(map(len, text.splitlines())) <= 40
    assert "\x1b" not in text


def test_the_page_asks_nobody_for_anything_and_escapes_what_it_shows() -> None:
    page = html_report([seen()])
    assert not re.search(r"(src|href|url\(|@import|<script|<link)", page)
    assert "Grafana Cloud &lt;receives&gt; the same" in page
    assert "<svg" in page
    assert "prefers-color-scheme: dark" in page
    assert html_report([seen(), seen()]).count("<h1>") == 2


def dump(page: str, width: int, tmp_path: Path) -> dict[str, int]:
    """Measures of the page in a real browser: it sits in a frame of that width, for windows have a least width."""
    frame = f'<iframe id="f" style="border:0;width:{width}px;height:900px" srcdoc="{html.escape(page)}"></iframe>'
    file = tmp_path / "frame.html"
    file.write_text(f"<!doctype html><body>{frame}{MEASURE}</body>")
    assert CHROMIUM is not None
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=5000",
            f"--window-size={max(width, 500)},900",
            "--dump-dom",
            file.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r'data-measured="([^"]+)"', done.stdout)
    assert found, done.stdout[:500] + done.stderr[-500:]
    measured: dict[str, int] = json.loads(html.unescape(found[1]))
    return measured


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
@pytest.mark.parametrize("width", [320, 360, 768, 1280])
@pytest.mark.parametrize(
    "make", [seen, lambda: seen("memory-v2-vm.txt"), lambda: long_names(seen())], ids=["nested", "vm", "long names"]
)
def test_the_page_fits_phones_and_desktops(width: int, make: object, tmp_path: Path) -> None:
    measured = dump(html_report([make()]), width, tmp_path)  # type: ignore[operator]
    assert measured["client"] <= width
    assert measured["scroll"] <= measured["client"]
    assert measured["wide"] == 0
    assert measured["drawn"] == measured["charts"] >= 6
