"""`opsctl logs`, `exec`, `shell` and `tunnel` as they are typed, against a real droplet."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import socket
import subprocess
from collections.abc import Iterator

import jsonschema
import pytest
from tests.conftest import BASE_ENVIRONMENT, Droplet, Opsctl

from opsctl.cli import schema
from opsctl.model.cancel import Cancel
from opsctl.render.logs import clean, unstamped

COMPOSE = "cd /opt/Dev-Tools/deploy && docker compose"


@pytest.fixture
def busy(droplet: Droplet) -> Iterator[Droplet]:
    """A droplet on which redis and gateway-mcp answer."""
    droplet.sh(f"{COMPOSE} up -d --no-deps redis gateway-mcp 2>&1")
    droplet.sh("for i in $(seq 300); do curl -sf 127.0.0.1:8000/health >/dev/null && exit; sleep 0.1; done; exit 1")
    yield droplet


def piped(droplet: Droplet, stdin: str, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**BASE_ENVIRONMENT, **droplet.opsctl.environment}
    return subprocess.run(
        droplet.opsctl.argv(*words),
        input=stdin,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def connections(droplet: Droplet) -> set[str]:
    """The processes that serve SSH connections there now; the one that asks ends with the asking."""
    return set(droplet.sh("pgrep '^sshd-session$' || pgrep -f '^sshd: root@'").split())


@pytest.mark.parametrize(
    ("text", "plain", "coloured"),
    [
        ("plain é", "plain é", "plain é"),
        ("tab\there", "tab\there", "tab\there"),
        ("\x1b[31mred\x1b[0m", "red", "\x1b[31mred\x1b[0m\x1b[0m"),
        ("a\x1b]0;title\x07b", "ab", "ab"),
        ("a\x1b[2Jb\x1b[1;1H", "ab", "ab"),
        ("50 %\r100 %\b", "50 %100 %", "50 %100 %"),
        ("a\x9bb\x7f", "ab", "ab"),
    ],
)
def test_a_line_cannot_act_on_the_terminal(text: str, plain: str, coloured: str) -> None:
    assert clean(text, colours=False) == plain
    assert clean(text, colours=True) == coloured


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2026-11-20T21:06:39Z INFO  ready", "INFO  ready"),
        ("2026-11-20 21:06:38.628 UTC [1] LOG:  ready", "[1] LOG:  ready"),
        ("2026-11-20 21:06:39,196 - app - ready", "app - ready"),
        ("[2026-11-20 21:06:39 +0000] [7] [INFO] ready", "[7] [INFO] ready"),
        ("2026/11/20 21:06:39 [notice] ready", "[notice] ready"),
        ("[2026-11-20 21:06:39 in brackets]", "[2026-11-20 21:06:39 in brackets]"),
        ("2026-11-20T23:06:39+02:00 local", "2026-11-20T23:06:39+02:00 local"),
        ("2026-11-20 22:06:39 another hour", "2026-11-20 22:06:39 another hour"),
        ("2026-11-20 21:06:39 ", "2026-11-20 21:06:39 "),
        ("2026-99-20 21:06:39 no day", "2026-99-20 21:06:39 no day"),
        ("ready at 2026-11-20T21:06:39Z ", "ready at 2026-11-20T21:06:39Z "),
    ],
)
def test_a_time_is_not_shown_twice(text: str, shown: str) -> None:
    assert unstamped(text, "2026-11-20T21:06:39.196123456Z") == shown
    assert unstamped(text, "") == text


def test_what_cannot_be_understood_is_a_usage_error(opsctl: Opsctl) -> None:
    for words in (("--grep", "("), ("--since", "yesterday"), ("--tail", "-1")):
        assert opsctl("logs", "-d", "local", *words).returncode == 2


@pytest.mark.sandbox
def test_logs_before_anything_was_started(droplet: Droplet) -> None:
    for words in (("logs",), ("logs", "-f")):
        done = droplet.opsctl(*words)
        assert (done.returncode, done.stdout) == (0, "")
        assert "no container of the stack yet" in done.stderr


@pytest.mark.sandbox
def test_logs_of_the_whole_stack_and_of_one(busy: Droplet) -> None:
    all_of_it = busy.opsctl("logs")
    assert all_of_it.returncode == 0
    assert "Ready to accept connections" in all_of_it.stdout
    assert "[gateway-mcp] ready after" in all_of_it.stdout
    lines = [json.loads(line) for line in busy.opsctl("logs", "--json").stdout.splitlines()]
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)
    assert {line["service"] for line in lines} == {"redis", "gateway-mcp"}
    one = busy.opsctl("logs", "gateway-mcp", "--grep", "ready after", "--json")
    assert [json.loads(line)["service"] for line in one.stdout.splitlines()] == ["gateway-mcp"]
    wrong = busy.opsctl("logs", "redsi")
    assert wrong.returncode == 2
    assert "redis" in wrong.stderr


@pytest.mark.sandbox
def test_following_ends_with_ctrl_c_and_outlives_a_restart(busy: Droplet) -> None:
    process = busy.opsctl.start("logs", "-f", "gateway-mcp", "--json")
    assert process.stdout is not None
    seen: list[str] = []

    def until(text: str, times: int) -> None:
        while sum(text in line for line in seen) < times:
            line = process.stdout.readline()  # type: ignore[union-attr]
            assert line, "it ended"
            seen.append(line)

    try:
        until("ready after", 1)
        busy.sh("docker restart -t 1 deploy-gateway-mcp-1")
        until("ready after", 2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0, out
    assert "gateway-mcp: started" in err


@pytest.mark.sandbox
def test_exec_passes_stdin_and_status(busy: Droplet) -> None:
    assert piped(busy, "x" * 100_000, "exec", "redis", "--", "cat").stdout == "x" * 100_000
    assert piped(busy, "", "exec", "redis", "--", "sh", "-c", "echo out; echo err >&2; exit 9").returncode == 9
    asked = piped(busy, "PING\n", "exec", "redis", "--", "redis-cli")
    assert (asked.returncode, asked.stdout.strip()) == (0, "PONG")
    assert piped(busy, "exit 3\n", "shell", "redis").returncode == 3
    assert busy.opsctl("exec", "orchestrator", "--", "true").returncode == 1
    assert busy.opsctl("exec", "nobody", "--", "true").returncode == 2
    hostile = ["a b", "$(exit 4)", "'\"", "-n"]
    said = piped(busy, "", "exec", "redis", "--", "printf", "[%s]", *hostile)
    assert said.stdout == "".join(f"[{word}]" for word in hostile)


@pytest.mark.sandbox
def test_an_interrupted_command_does_not_run_on(busy: Droplet) -> None:
    process = busy.opsctl.start("exec", "redis", "--", "sh", "-c", "echo up; exec sleep 4711")
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143
    finally:
        process.kill()
    assert busy.sh("pgrep -f '[s]leep 4711'", check=False) == ""


@pytest.mark.sandbox
def test_a_shell_on_a_terminal(busy: Droplet) -> None:
    environment = {**BASE_ENVIRONMENT, **busy.opsctl.environment, "TERM": "xterm"}
    pid, terminal = pty.fork()
    if pid == 0:
        words = busy.opsctl.argv("shell", "redis")
        os.execve(words[0], words, environment)
    try:
        assert b"/dev/pts/" in talk(terminal, [(b"# ", b"tty; exit 5\n")])
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise


def talk(terminal: int, lines: list[tuple[bytes, bytes]]) -> bytes:
    """Wait for each prompt and type its line; everything shown until the other end is gone."""
    shown = b""
    while select.select([terminal], [], [], 60)[0]:
        try:
            shown += os.read(terminal, 4096)
        except OSError:  # the other end is gone
            return shown
        if lines and lines[0][0] in shown:
            os.write(terminal, lines.pop(0)[1])
    pytest.fail(f"nothing came for 60 s: {shown!r}")


@pytest.mark.sandbox
def test_tunnels(busy: Droplet) -> None:
    command = "exec 3<>/dev/tcp/$OPSCTL_REDIS_HOST/$OPSCTL_REDIS_PORT; printf 'PING\\r\\n' >&3; head -c5 <&3; exit 6"
    ran = busy.opsctl("tunnel", "redis:6379", "gateway-mcp", "--exec", f"bash -c '{command.replace(chr(39), chr(34))}'")
    assert (ran.returncode, ran.stdout) == (6, "+PONG")

    process = busy.opsctl.start("tunnel", "redis", "gateway-mcp:8000")
    assert process.stdout is not None
    try:
        places = [process.stdout.readline().split()[-1].split(":") for _ in range(2)]
        for (address, port), ask, answer in zip(
            places, (b"PING\r\n", b"GET /health HTTP/1.0\r\n\r\n"), (b"+PONG", b"HTTP/1.0 200"), strict=True
        ):
            with socket.create_connection((address, int(port)), timeout=10) as near:
                near.sendall(ask)
                assert near.recv(100).replace(b"HTTP/1.1", b"HTTP/1.0").startswith(answer)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0


def ping(port: int) -> bytes:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as near:
            near.sendall(b"PING\r\n")
            return near.recv(100)
    except OSError:
        return b""


@pytest.mark.sandbox
def test_a_tunnel_outlives_its_connection(busy: Droplet) -> None:
    before = connections(busy)
    process = busy.opsctl.start("tunnel", "redis", "--json")
    assert process.stdout is not None
    lines: list[str] = []
    while not lines or lines[-1] != "}\n":
        lines.append(process.stdout.readline())
    document = json.loads("".join(lines))
    jsonschema.validate(document, schema.document("tunnel"))
    (tunnel,) = document["droplets"][0]["result"]["tunnels"]
    try:
        assert ping(tunnel["local_port"]).startswith(b"+PONG")
        busy.sh(f"kill -9 {' '.join(connections(busy) - before)}", check=False)
        bound = Cancel(60)
        while not ping(tunnel["local_port"]).startswith(b"+PONG"):
            assert not bound.wait(0.5), "the tunnel did not come back"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        process.kill()
