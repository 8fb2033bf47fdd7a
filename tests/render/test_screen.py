"""Where lines break on a screen, and that they do not where they are piped."""

from __future__ import annotations

import pytest
from rich.text import Text

from opsctl.model.errors import ErrorInfo
from opsctl.render.errors import print_error
from opsctl.render.screen import Screen

NAMES = ", ".join(("feature-dev", "code-review", "caddy", "state-persistence", "promtail", "postgres") * 3)


@pytest.mark.parametrize("columns", [80, 100])
def test_a_long_line_breaks_between_words(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    Screen().say(f"unchanged: {NAMES}")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 1
    assert all(len(line) <= columns for line in lines)
    assert " ".join(line.strip() for line in lines) == f"unchanged: {NAMES}"  # nothing is broken inside or lost
    assert all(line.startswith("  ") and line[2] != " " for line in lines[1:])


def test_what_follows_stands_below_the_text_beside_the_label(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    Screen().say(Text.assemble(("\nup        ", "dim"), NAMES))
    empty, first, *more = capsys.readouterr().out.splitlines()
    assert (empty, first[:10]) == ("", "up        ")
    assert more
    assert all(line[:10] == " " * 10 and line[10] != " " for line in more)


def test_a_piped_line_stays_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    Screen().say(f"unchanged: {NAMES}")
    assert capsys.readouterr().out == f"unchanged: {NAMES}\n"


def test_a_path_is_not_cut(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    path = "/srv/" + "a-rather-long-folder/" * 6
    Screen().say(f"the file is {path} and nowhere else")
    assert path in capsys.readouterr().out


def test_why_wraps_and_what_is_to_be_typed_stays_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    command = "opsctl migrate redis-to-postgres --from sessions --to postgres://devtools@localhost/devtools --dry-run"
    print_error(ErrorInfo("usage", "no such service", f"there are: {NAMES}", command))
    head, *rest = capsys.readouterr().err.splitlines()
    assert head == "✗ no such service"
    assert rest[-1] == f"  next {command}"
    assert rest[0].startswith("  why  there are: feature-dev")
    assert len(rest) > 3
    assert all(len(line) <= 80 and line.startswith(" " * 7) for line in rest[1:-1])
