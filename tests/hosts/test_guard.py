"""Leases: one holder, known to all who ask, and free again when the holder is gone however it went."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.hosts.support import Sshd, eventually, spec, ssh_host
from tests.hosts.test_shell import mark, running

from opsctl.hosts.base import AgentHost
from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConnectionLost, LeaseHeld, StepFailed
from opsctl.model.ports import Script

Owner = Callable[..., "subprocess.Popen[str]"]


def taken(host: AgentHost, scope: str = "stack") -> bool:
    """Whether somebody else has the lease."""
    try:
        host.guard(spec(scope), cancel=Cancel(20)).release()
    except LeaseHeld:
        return True
    return False


def test_a_held_lease_is_refused_and_says_who_has_it(host: AgentHost, cancel: Cancel) -> None:
    guard = host.guard(spec(), cancel=cancel)
    assert guard.abandoned is None
    with pytest.raises(LeaseHeld) as caught:
        host.guard(spec(run_id="r2"), cancel=cancel)
    told = f"{caught.value.info.what} {caught.value.info.why}"
    assert all(word in told for word in ("ada", "laptop", "`opsctl startup`", "r1", "stack", "box"))
    guard.release()
    guard.release()
    again = host.guard(spec(), cancel=cancel)
    assert again.abandoned is None
    again.release()


def test_scopes_do_not_hinder_each_other(host: AgentHost, cancel: Cancel) -> None:
    with_stack, with_data = host.guard(spec(), cancel=cancel), host.guard(spec("data:memory"), cancel=cancel)
    assert taken(host) and taken(host, "data:memory") and not taken(host, "data:other")
    with_stack.release()
    assert not taken(host) and taken(host, "data:memory")
    with_data.release()


def test_scripts_run_inside_the_lease_and_reads_beside_it(host: AgentHost, cancel: Cancel, state: Path) -> None:
    guard = host.guard(spec(), cancel=cancel)
    look = Script("ls -l /proc/self/fd")
    lock = str(state / "lease" / "stack.lock")
    assert lock in guard.run(look, cancel=cancel, timeout=20).text
    assert "".join(guard.stream(look, cancel=cancel, timeout=20)).count(lock) == 1
    assert lock not in host.run(look, cancel=cancel, timeout=20).text
    guard.release()


def test_release_ends_what_the_lease_ran_and_nothing_else(host: AgentHost, cancel: Cancel) -> None:
    inside, beside = mark(), mark()
    guard = host.guard(spec(), cancel=cancel)
    with ThreadPoolExecutor(2) as pool:
        pool.submit(lambda: host.run(Script(beside), cancel=cancel, timeout=60))
        work = pool.submit(lambda: guard.run(Script(f"trap '' TERM; {inside}"), cancel=cancel, timeout=60))
        assert eventually(lambda: running(inside) and running(beside))
        guard.release()
        assert not running(inside) and running(beside) and not taken(host)
        host.close()
        assert work.done() or work.exception(10)
    with pytest.raises(StepFailed):
        guard.run(Script("true"), cancel=cancel, timeout=20)


def test_the_holder_is_written_beside_the_lock(host: AgentHost, cancel: Cancel, state: Path) -> None:
    guard = host.guard(spec(), cancel=cancel)
    holder = json.loads((state / "lease" / "stack.json").read_text())
    assert holder["user"] == "ada" and holder["run"] == "r1"
    assert holder["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert (state / "runs").is_dir()
    guard.release()
    assert not (state / "lease" / "stack.json").exists()


def test_a_holder_of_an_earlier_boot_is_found(host: AgentHost, cancel: Cancel, state: Path) -> None:
    (state / "lease").mkdir(parents=True)
    (state / "lease" / "stack.json").write_text('{"run":"r0","user":"bob","boot_id":"another","uptime":"5"}\n')
    guard = host.guard(spec(), cancel=cancel)
    assert guard.abandoned is not None and guard.abandoned["run"] == "r0"
    guard.release()


def test_a_half_written_holder_is_no_obstacle(host: AgentHost, cancel: Cancel, state: Path) -> None:
    (state / "lease").mkdir(parents=True)
    (state / "lease" / "stack.json").write_text('{"run":"r')
    guard = host.guard(spec(), cancel=cancel)
    assert guard.abandoned == {}
    guard.release()


def test_a_folder_that_cannot_be_made_says_what_to_type(host: AgentHost, cancel: Cancel, state: Path) -> None:
    state.write_text("a file is in the way")
    with pytest.raises(StepFailed) as caught:
        host.guard(spec(), cancel=cancel)
    assert caught.value.info.code == "state-folder"
    assert f"install -d -m 2775 -g docker {state}" in caught.value.info.next
    assert host.run(Script("echo on"), cancel=cancel, timeout=20).text == "on\n"


@pytest.fixture
def owner(sshd: Sshd, state: Path, tmp_path: Path) -> Iterator[Owner]:
    """Starts another process that holds the lease and runs something in it."""
    started: list[subprocess.Popen[str]] = []

    def start(sleep: str, *, silence: float = 45, heartbeat: float = 10) -> subprocess.Popen[str]:
        droplet = sshd.droplet()
        program = f"""
            from pathlib import Path
            from opsctl.model.cancel import Cancel
            from opsctl.model.ports import Script
            from opsctl.model.stack import Droplet
            from tests.hosts.support import spec, ssh_host
            droplet = Droplet("box", {droplet.address!r}, key={droplet.key!r}, known_hosts={droplet.known_hosts!r})
            host = ssh_host(droplet, Path({str(state)!r}), silence={silence}, heartbeat={heartbeat})
            guard = host.guard(spec(), cancel=Cancel(30))
            for line in guard.stream(Script("echo ready; {sleep} & {sleep}"), cancel=Cancel(), timeout=None):
                print(line, flush=True)
        """
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        started.append(process)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def other(sshd: Sshd, state: Path) -> Iterator[AgentHost]:
    found = ssh_host(sshd.droplet(), state)
    yield found
    found.close()


def test_the_lease_of_a_killed_owner_is_free_and_called_abandoned(owner: Owner, other: AgentHost) -> None:
    sleep = mark()
    process = owner(sleep)
    assert taken(other) and running(sleep)
    process.kill()
    assert eventually(lambda: not taken_or_abandoned(other))
    assert not running(sleep)


def taken_or_abandoned(host: AgentHost) -> bool:
    try:
        guard = host.guard(spec(), cancel=Cancel(20))
    except LeaseHeld:
        return True
    guard.release()
    assert guard.abandoned is not None and guard.abandoned["run"] == "r1"
    return False


def test_a_silent_owner_loses_the_lease_and_learns_of_it(owner: Owner, other: AgentHost) -> None:
    sleep = mark()
    process = owner(sleep, silence=2, heartbeat=0.5)
    os.kill(process.pid, signal.SIGSTOP)
    assert eventually(lambda: not taken_or_abandoned(other), within=30)
    assert not running(sleep)
    os.kill(process.pid, signal.SIGCONT)
    assert process.wait(20) != 0


def test_a_heartbeat_keeps_the_lease(owner: Owner, other: AgentHost, cancel: Cancel) -> None:
    owner(mark(), silence=2, heartbeat=0.5)
    cancel.wait(4)
    assert taken(other)


def test_a_forgotten_close_does_not_keep_the_process_alive(sshd: Sshd, state: Path) -> None:
    droplet = sshd.droplet()
    program = (
        "from pathlib import Path\nfrom opsctl.model.cancel import Cancel\nfrom opsctl.model.stack import Droplet\n"
        "from tests.hosts.support import spec, ssh_host\n"
        f"d = Droplet('box', {droplet.address!r}, key={droplet.key!r}, known_hosts={droplet.known_hosts!r})\n"
        f"h = ssh_host(d, Path({str(state)!r})); h.guard(spec(), cancel=Cancel(30)); raise SystemExit(5)"
    )
    done = subprocess.run([sys.executable, "-c", program], timeout=60, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 5


def test_a_cut_connection_ends_the_work_and_the_lease(make_sshd: Callable[..., Sshd], state: Path) -> None:
    server, sleep, cancel = make_sshd(), mark(), Cancel(60)
    host = ssh_host(server.droplet(), state)
    guard = host.guard(spec(), cancel=cancel)
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(lambda: guard.run(Script(f"{sleep} & {sleep}"), cancel=cancel, timeout=60))
        assert eventually(lambda: running(sleep))
        server.cut()
        assert isinstance(work.exception(20), ConnectionLost)
    assert eventually(lambda: not running(sleep))
    with pytest.raises(ConnectionLost):
        guard.run(Script("true"), cancel=cancel, timeout=20)
    # The host itself connects again, and finds who was cut off.
    assert host.run(Script("echo back"), cancel=cancel, timeout=20).text == "back\n"
    assert eventually(lambda: not taken_or_abandoned(host))
    guard.release()
    host.close()
