"""Scripts on a host: what goes in, what comes out, and that nothing outlives its caller's patience."""

from __future__ import annotations

import subprocess
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.hosts.support import eventually

from opsctl.hosts.base import AgentHost
from opsctl.model.cancel import Cancel
from opsctl.model.errors import DeadlineExceeded, Interrupted, StepFailed
from opsctl.model.ports import Script
from opsctl.model.secret import Secret


def running(mark: str) -> bool:
    return subprocess.run(["pgrep", "-f", f"^{mark}"], capture_output=True, check=False).returncode == 0


def mark() -> str:
    """A sleep that can be told from all others: seconds that nobody else would think of."""
    return f"sleep 7{uuid.uuid4().int % 10**9}"


def test_status_output_and_errors_are_kept_apart(host: AgentHost, cancel: Cancel) -> None:
    done = host.run(Script("echo out; echo err >&2; exit 7"), cancel=cancel, timeout=20)
    assert (done.code, done.stdout, done.stderr) == (7, b"out\n", b"err\n")


@pytest.mark.parametrize(
    "word", ["", "a b", "$(touch /tmp/no)", "'; exit 9; '", "line\nline", "é ☃", "-n", "*", "\\", "!!", "\t"]
)
def test_words_arrive_as_they_are(host: AgentHost, cancel: Cancel, word: str) -> None:
    done = host.run(Script.of("printf", "%s|", word, "end"), cancel=cancel, timeout=20)
    assert done.stdout == f"{word}|end|".encode()


def test_output_is_not_touched(host: AgentHost, cancel: Cancel) -> None:
    data = bytes(range(256)) * 1200 + b"no newline"
    done = host.run(Script("cat; cat >&2 <<<x", stdin=data), cancel=cancel, timeout=20)
    assert (done.stdout, done.stderr) == (data, b"x\n")


def test_a_long_script_and_much_output(host: AgentHost, cancel: Cancel) -> None:
    done = host.run(Script("#" * 20_000 + "\nseq 1 52000"), cancel=cancel, timeout=20)
    assert done.text == "".join(f"{n}\n" for n in range(1, 52001))


def test_without_stdin_there_is_none(host: AgentHost, cancel: Cancel) -> None:
    assert host.run(Script("cat; echo end"), cancel=cancel, timeout=20).text == "end\n"


def test_scripts_do_not_see_each_other(host: AgentHost, cancel: Cancel) -> None:
    host.run(Script("x=1; cd /; exit 3"), cancel=cancel, timeout=20)
    assert host.run(Script('echo "[$x]$#"'), cancel=cancel, timeout=20).text == "[]0\n"


def test_twenty_at_a_time(host: AgentHost, cancel: Cancel) -> None:
    def one(number: int) -> bool:
        script = Script('for i in {1..300}; do echo "$1 $i"; echo "$1 $i" >&2; done; exit "$1"', (str(number),))
        done = host.run(script, cancel=cancel, timeout=60)
        lines = "".join(f"{number} {i}\n" for i in range(1, 301)).encode()
        return (done.code, done.stdout, done.stderr) == (number, lines, lines)

    with ThreadPoolExecutor(20) as pool:
        assert all(pool.map(one, range(20)))


def test_streams_side_by_side_with_lines_of_any_length(host: AgentHost, cancel: Cancel) -> None:
    def one(number: int) -> bool:
        script = Script(
            'for n in 1 699 700 701 9000; do printf "%*s\\n" $n "$1"; done; printf "last %s" "$1"', (str(number),)
        )
        lines = list(host.stream(script, cancel=cancel, timeout=60))
        return [len(line) for line in lines[:5]] == [1, 699, 700, 701, 9000] and lines[5] == f"last {number}"

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(one, range(8)))


def test_a_stream_gives_each_line_when_it_is_written(host: AgentHost, cancel: Cancel, tmp_path: Path) -> None:
    flag = tmp_path / "seen"
    script = Script('echo first; while [ ! -e "$1" ]; do sleep 0.05; done; echo second', (str(flag),))
    lines = host.stream(script, cancel=cancel, timeout=30)
    assert next(lines) == "first"
    flag.touch()
    assert list(lines) == ["second"]


def test_a_stream_that_fails_says_so_after_its_lines(host: AgentHost, cancel: Cancel) -> None:
    lines = host.stream(Script("echo a; echo broken >&2; exit 4"), cancel=cancel, timeout=30)
    assert next(lines) == "a"
    with pytest.raises(StepFailed) as caught:
        next(lines)
    assert "status 4" in caught.value.info.what and "broken" in caught.value.info.why


def test_closing_a_stream_ends_what_it_ran(host: AgentHost, cancel: Cancel) -> None:
    sleep = mark()
    lines = host.stream(Script(f"echo on; {sleep} & {sleep}"), cancel=cancel, timeout=None)
    assert next(lines) == "on" and eventually(lambda: running(sleep))
    lines.close()  # type: ignore[attr-defined]
    assert eventually(lambda: not running(sleep))


def test_a_deadline_kills_the_whole_group(host: AgentHost, cancel: Cancel) -> None:
    sleep = mark()
    with pytest.raises(DeadlineExceeded) as caught:
        host.run(Script(f"bash -c '{sleep} & {sleep}' & {sleep}"), cancel=cancel, timeout=0.5)
    assert "box" in caught.value.info.what and "0.5 s" in caught.value.info.what
    assert eventually(lambda: not running(sleep))


def test_what_ignores_the_first_signal_is_forced(host: AgentHost, cancel: Cancel) -> None:
    sleep = mark()
    with pytest.raises(DeadlineExceeded):
        host.run(Script(f"trap '' TERM; {sleep}"), cancel=cancel, timeout=0.5)
    assert eventually(lambda: not running(sleep))


def test_cancel_kills_at_once(host: AgentHost) -> None:
    sleep, cancel = mark(), Cancel()
    host.run(Script("true"), cancel=cancel, timeout=20)
    threading.Timer(0.3, cancel.cancel).start()
    with pytest.raises(Interrupted):
        host.run(Script(sleep), cancel=cancel, timeout=60)
    assert eventually(lambda: not running(sleep))


def test_closing_the_host_ends_what_ran_on_it(host: AgentHost, cancel: Cancel) -> None:
    sleep = mark()
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(lambda: host.run(Script(f"{sleep} & {sleep}"), cancel=cancel, timeout=60))
        assert eventually(lambda: running(sleep))
        host.close()
        assert work.exception(timeout=10) is not None
    assert eventually(lambda: not running(sleep))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("box: ")]


def test_what_a_script_leaves_behind_ends_with_it(host: AgentHost, cancel: Cancel) -> None:
    left, kept = mark(), mark()
    try:
        done = host.run(Script(f"{left} & setsid {kept} & sleep 0.2; exit 5"), cancel=cancel, timeout=20)
        assert done.code == 5 and eventually(lambda: not running(left)) and running(kept)
    finally:
        subprocess.run(["pkill", "-f", f"^{kept}"], check=False)


def test_other_scripts_go_on_when_one_is_killed(host: AgentHost, cancel: Cancel) -> None:
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(lambda: host.run(Script("sleep 1.5; echo fine"), cancel=cancel, timeout=30))
        with pytest.raises(DeadlineExceeded):
            host.run(Script("sleep 60"), cancel=cancel, timeout=0.3)
        assert work.result(20).text == "fine\n"


def test_a_secret_reaches_the_script_and_no_argument_list(host: AgentHost, cancel: Cancel) -> None:
    value = f"pa'ss $word {uuid.uuid4()}"
    look = 'printf %s "$TOKEN"; cat /proc/[0-9]*/cmdline >&2 2>/dev/null'
    done = host.run(Script(look, secrets={"TOKEN": Secret(value)}), cancel=cancel, timeout=20)
    assert done.text == value
    assert value[-36:].encode() not in done.stderr and b"opsctl-agent" in done.stderr


def test_files_come_and_go_unchanged(host: AgentHost, cancel: Cancel, tmp_path: Path) -> None:
    path, data = tmp_path / "a folder" / "file", bytes(range(256)) * 20_000
    path.parent.mkdir()
    path.write_text("old")
    host.put(data, str(path), mode=0o640, cancel=cancel, timeout=60)
    assert path.read_bytes() == data and path.stat().st_mode & 0o777 == 0o640
    assert host.get(str(path), cancel=cancel, timeout=60) == data
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_an_empty_file(host: AgentHost, cancel: Cancel, tmp_path: Path) -> None:
    host.put(b"", str(tmp_path / "empty"), mode=0o600, cancel=cancel, timeout=20)
    assert host.get(str(tmp_path / "empty"), cancel=cancel, timeout=20) == b""


def test_a_file_that_cannot_be_read_or_written_says_why(host: AgentHost, cancel: Cancel, tmp_path: Path) -> None:
    with pytest.raises(StepFailed) as caught:
        host.get(str(tmp_path / "none"), cancel=cancel, timeout=20)
    assert "No such file" in caught.value.info.why
    with pytest.raises(StepFailed) as caught:
        host.put(b"x", str(tmp_path / "none" / "x"), mode=0o600, cancel=cancel, timeout=20)
    assert "No such file" in caught.value.info.why
    with pytest.raises(StepFailed):
        host.put(b"x", str(tmp_path), mode=0o600, cancel=cancel, timeout=20)


def test_a_link_keeps_being_a_link(host: AgentHost, cancel: Cancel, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real").write_text("old")
    host.put(b"new", str(tmp_path / "link"), mode=0o600, cancel=cancel, timeout=20)
    assert (tmp_path / "real").read_text() == "new" and (tmp_path / "link").is_symlink()


def test_who_commands_run_as(host: AgentHost, cancel: Cancel) -> None:
    privilege = host.privilege(cancel=cancel)
    assert privilege.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert host.run(Script("id -u"), cancel=cancel, timeout=20).text.strip() == str(privilege.uid)
