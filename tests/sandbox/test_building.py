"""What the sandbox's builds stand on: bounded programs, locks that end with their owner, builds begun anew."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from opsctl.model.cancel import Cancel
from opsctl.model.errors import DeadlineExceeded, Interrupted, StepFailed
from opsctl.sandbox import identity, procs, rootfs
from opsctl.sandbox.locks import locked
from opsctl.sandbox.paths import sandbox_dir

BUILDS = os.geteuid() == 0 and shutil.which("debootstrap") is not None


def gone(pid: int) -> bool:
    """Whether a killed process ends soon; one that only waits to be reaped has ended."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.02)
    return False


def test_a_program_says_what_it_says() -> None:
    said = procs.attempt(["sh", "-c", "cat; echo no >&2; exit 3"], cancel=Cancel(), timeout=10, stdin=b"yes")
    assert said == (3, "yes", "no")


def test_a_failed_program_is_told_with_its_last_words() -> None:
    with pytest.raises(StepFailed) as caught:
        procs.output(["sh", "-c", "echo because >&2; exit 1"], cancel=Cancel(), timeout=10)
    assert caught.value.info.why == "because"


def test_a_program_that_hangs_is_ended_with_its_children() -> None:
    words = ["sh", "-c", "sleep 300 & echo $!; wait"]
    lines = procs.lines(words, cancel=Cancel(), timeout=0.5)
    child = int(next(lines))
    with pytest.raises(DeadlineExceeded):
        next(lines)
    assert gone(child)


def test_lines_come_as_they_are_said() -> None:
    cancel = Cancel()
    lines = procs.lines(["sh", "-c", "echo one; exec sleep 300"], cancel=cancel, timeout=60)
    assert next(lines) == "one"
    threading.Timer(0.1, cancel.cancel).start()
    with pytest.raises(Interrupted):
        next(lines)


def test_a_lock_waits_says_so_and_ends_with_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.flock(f, 2); print(flush=True); time.sleep(300)"
    owner = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
    assert owner.stdout is not None
    owner.stdout.readline()
    said: list[str] = []
    with pytest.raises(DeadlineExceeded), locked(path, "tests", said.append, Cancel(0.3)):
        pass
    assert said == ["waits for another opsctl that tests"]
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    with locked(path, "tests", said.append, Cancel(10), remove=True):
        assert path.exists()
    assert not path.exists()


def test_keys_are_made_once_and_for_this_user_only(tmp_path: Path) -> None:
    first = identity.key_pair(tmp_path / "own" / "id_ed25519")
    assert identity.key_pair(tmp_path / "own" / "id_ed25519") == first
    assert (tmp_path / "own" / "id_ed25519").stat().st_mode & 0o777 == 0o600
    shown = subprocess.run(
        ["ssh-keygen", "-y", "-f", str(tmp_path / "own" / "id_ed25519")], capture_output=True, text=True, check=True
    )
    assert shown.stdout.split()[:2] == first.public.split()


def test_the_state_folder_is_the_users_choice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPSCTL_SANDBOX_STATE", str(tmp_path))
    assert sandbox_dir("dev") == tmp_path / "dev"
    monkeypatch.delenv("OPSCTL_SANDBOX_STATE")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert sandbox_dir("dev") == tmp_path / "xdg" / "opsctl" / "sandbox" / "dev"


@pytest.mark.skipif(not BUILDS, reason="building needs root and debootstrap")
@pytest.mark.sandbox
def test_a_build_that_was_cut_short_leaves_nothing_running_and_is_begun_anew(tmp_path: Path) -> None:
    environment = {**os.environ, "OPSCTL_SANDBOX_CACHE": str(tmp_path)}
    code = (
        "from opsctl.sandbox import rootfs; from opsctl.model.cancel import Cancel\n"
        "rootfs.ensure(lambda text: print(text, flush=True), Cancel())"
    )

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert process.stdout is not None
        for line in process.stdout:
            if "waits for the package mirror" in line:
                return process
        pytest.fail("it never began")

    first = start()
    working = tmp_path / f"rootfs-{rootfs.recipe_key()}.building"
    assert working.is_dir()
    (working / "mark").touch()
    first.kill()
    first.communicate()
    second = start()
    try:
        assert not (working / "mark").exists(), "what the first one left is gone"
    finally:
        second.kill()
        second.communicate()
    for _ in range(50):
        alive = [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path).encode() in _read(path)]
        if not alive:
            return
        time.sleep(0.1)
    pytest.fail(f"still there: {[_read(path) for path in alive]}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_another_recipe_has_another_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = rootfs.recipe_key()
    copy = shutil.copytree(rootfs.ASSETS, tmp_path / "assets")
    monkeypatch.setattr(rootfs, "ASSETS", copy)
    assert rootfs.recipe_key() == before
    (copy / "images" / "service").write_text("something else")
    assert rootfs.recipe_key() != before
