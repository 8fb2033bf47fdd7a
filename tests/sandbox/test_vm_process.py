"""An emulated machine's process and its lines, tried on real machines without a disk: they start in a moment."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from opsctl.model.errors import StepFailed, UnreachableError
from opsctl.sandbox import qmp, vm_process

QEMU = "qemu-system-x86_64"
pytestmark = [pytest.mark.vm, pytest.mark.skipif(shutil.which(QEMU) is None, reason="QEMU is not installed")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose path is longer than a socket's may be."""
    deep = tmp_path / ("x" * 60) / ("y" * 60)
    deep.mkdir(parents=True)
    return deep


@pytest.fixture
def machine(folder: Path) -> Iterator[Path]:
    """A machine that is on, with its processor stopped."""
    run_qemu(folder, "-S")
    yield folder
    vm_process.kill(folder)


def run_qemu(folder: Path, *more: str) -> None:
    lines = ["-qmp", f"unix:{qmp.MONITOR},server=on,wait=off"]
    lines += ["-chardev", f"socket,id=c,path={qmp.CONTROL},server=on,wait=off", "-serial", "chardev:c"]
    start = [QEMU, "-accel", "tcg", "-m", "64", "-nodefaults", "-display", "none", "-daemonize"]
    subprocess.run([*start, "-pidfile", vm_process.PIDFILE, *lines, *more], cwd=folder, check=True, timeout=60)


def eventually(holds: Callable[[], bool]) -> bool:
    for _ in range(300):
        if holds():
            return True
        time.sleep(0.1)
    return False


def test_the_owner_is_the_process_that_runs(machine: Path) -> None:
    pid = vm_process.owner(machine)
    assert pid is not None
    assert Path(f"/proc/{pid}/exe").resolve().name.startswith("qemu-system")


def test_a_number_in_the_pid_file_is_not_believed(folder: Path) -> None:
    (folder / vm_process.PIDFILE).write_text(f"{os.getpid()}\n")
    assert vm_process.owner(folder) is None
    vm_process.kill(folder)  # and this process goes on


def test_a_killed_machine_has_no_owner_though_its_pid_file_stays(machine: Path) -> None:
    pid = vm_process.owner(machine)
    assert pid is not None
    vm_process.kill(machine)
    assert (machine / vm_process.PIDFILE).exists()
    assert vm_process.owner(machine) is None
    assert not Path(f"/proc/{pid}/exe").exists()  # whoever is to reap it may take its time
    vm_process.kill(machine)


def test_the_monitor_answers_and_says_what_it_refuses(machine: Path) -> None:
    assert qmp.execute(machine, "query-status")["running"] is False
    with pytest.raises(StepFailed) as refused:
        qmp.execute(machine, "no-such-command")
    assert "no-such-command" in refused.value.info.why
    qmp.execute(machine, "cont")
    assert eventually(lambda: qmp.execute(machine, "query-status")["running"] is True)
    qmp.execute(machine, "quit")
    assert eventually(lambda: vm_process.owner(machine) is None)


def test_nobody_there_is_said_and_not_waited_for(folder: Path) -> None:
    with pytest.raises(UnreachableError):
        qmp.execute(folder, "query-status")
    with pytest.raises(UnreachableError):
        qmp.execute(folder / "missing", "query-status")
    assert qmp.ask(folder, "boot-id") is None


def test_a_silent_system_is_given_up_within_the_time(machine: Path) -> None:
    assert qmp.ask(machine, "boot-id", timeout=0.2) is None


def test_an_answer_is_told_from_what_an_earlier_question_left(folder: Path) -> None:
    """A real serial line with the droplet's own answering script behind it, without the machine."""
    script = Path(qmp.__file__).parent / "assets/vm/root/usr/local/lib/sandbox/control"
    body = "".join(line for line in script.read_text().splitlines(True) if not line.startswith(("exec ", "stty ")))
    (folder / "control").write_text(f"echo '12 an old answer'\n{body}")
    server = (
        "import socket, subprocess, sys\n"
        "s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); print(flush=True)\n"
        "c = s.accept()[0]; subprocess.run(['bash', 'control'], stdin=c, stdout=c)"
    )
    line = subprocess.Popen(
        ["python3", "-c", server, qmp.CONTROL], cwd=folder, stdout=subprocess.PIPE, start_new_session=True
    )
    assert line.stdout is not None
    with line:
        line.stdout.readline()
        here = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        assert qmp.ask(folder, "boot-id", timeout=10) == here
