"""Journal lines travel with the step; guards decide before it; real bash runs it all."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from opsctl.model.ports import Script
from opsctl.model.secret import Secret
from opsctl.spine.journal import MOVED, NO_JOURNAL, LocalCopy, chain, wrap

HOSTILE = ("a b", "$(touch /tmp/never)", "'", '"', "", "*", "-n", "ü\n2nd line")


def bash(script: Script) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", script.text, "bash", *script.args],
        input=(script.stdin or b"").decode(),
        capture_output=True,
        text=True,
        check=False,
    )


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_wrap_writes_begin_and_end_around_the_step(tmp_path: Path) -> None:
    journal = tmp_path / "run.jsonl"
    script = wrap(
        Script('printf "%s|" "$@"; cat; exit 3', HOSTILE, stdin=b"in"), str(journal), steps=("a", "b"), kind="x"
    )
    done = bash(script)
    assert done.returncode == 3
    assert done.stdout == "".join(f"{word}|" for word in HOSTILE) + "in"
    begin, end = lines(journal)
    assert begin["event"] == "begin" and begin["steps"] == ["a", "b"] and begin["kind"] == "x"
    assert end["event"] == "end" and end["code"] == 3
    assert str(begin["at"]).endswith("Z") and float(str(begin["up"])) > 0


def test_a_step_whose_line_cannot_be_written_is_not_begun(tmp_path: Path) -> None:
    done = bash(wrap(Script(f"touch {tmp_path}/done"), str(tmp_path / "no" / "run.jsonl"), steps=("a",), kind="x"))
    assert done.returncode == NO_JOURNAL
    assert not (tmp_path / "done").exists()


def test_a_begin_without_an_end_is_what_a_killed_step_leaves(tmp_path: Path) -> None:
    journal = tmp_path / "run.jsonl"
    bash(wrap(Script("kill -9 $$"), str(journal), steps=("a",), kind="x"))
    assert [line["event"] for line in lines(journal)] == ["begin"]


def test_the_last_line_of_a_step_may_be_a_comment_or_a_heredoc(tmp_path: Path) -> None:
    for text in ("echo hi # done", "cat <<E\nhi\nE\n"):
        assert bash(wrap(Script(text), str(tmp_path / "j"), steps=("a",), kind="x")).stdout == "hi\n"


def test_chain_runs_the_second_only_after_the_first() -> None:
    good = chain(Script('[ "$1" = a ]', ("a",)), Script('printf "%s|" "$@"', HOSTILE))
    assert bash(good).stdout == "".join(f"{word}|" for word in HOSTILE)
    moved = bash(chain(Script("echo moved >&2; exit 86"), Script("echo second")))
    assert moved.returncode == MOVED and moved.stdout == "" and moved.stderr == "moved\n"


def test_chain_keeps_secrets_and_stdin() -> None:
    both = chain(Script("true", secrets={"A": Secret("1")}), Script("cat", secrets={"B": Secret("2")}, stdin=b"x"))
    assert set(both.secrets) == {"A", "B"} and both.stdin == b"x"


def test_the_local_copy_is_private_and_never_the_reason_for_a_failure(tmp_path: Path) -> None:
    copy = LocalCopy("r1", "root@host:22", folder=tmp_path / "runs")
    copy.write({"event": "StepEnded", "detail": "ü"})
    assert json.loads(copy.path.read_text()) == {"event": "StepEnded", "detail": "ü"}
    assert (tmp_path / "runs").stat().st_mode & 0o077 == 0
    (tmp_path / "file").write_text("")
    LocalCopy("r2", "d", folder=tmp_path / "file").write({"event": "x"})
