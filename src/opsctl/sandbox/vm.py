"""The sandbox droplet as a machine of its own, run by QEMU: own kernel, systemd, cgroup v2, real reboots."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import shutil
import socket
import time
from pathlib import Path

from opsctl.model.cancel import Cancel
from opsctl.model.errors import DeadlineExceeded, StepFailed
from opsctl.sandbox import disk, procs, qmp, vm_accel, vm_boot, vm_process
from opsctl.sandbox.kinds import Condition, Power, Progress, Seen, Spec

_NEEDED = {vm_accel.QEMU: "qemu-system-x86", "qemu-img": "qemu-utils"}
_TERMINAL = re.compile(r"\x1b[\[(][0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f]")
_KNOCK = 30.0
_NEWS = 10.0


class Vm:
    """The kind `vm`. A droplet's folder holds `vm/`: its layer of the disk, QEMU's sockets and pid file."""

    name = "vm"

    def unusable(self) -> str | None:
        """See Kind."""
        if platform.system() != "Linux" or platform.machine() != "x86_64":
            return f"machines are made for Linux on x86_64, this is {platform.system()} on {platform.machine()}"
        missing = [package for program, package in _NEEDED.items() if shutil.which(program) is None]
        return f"QEMU is not installed: sudo apt-get install {' '.join(missing)}" if missing else None

    def prepare(self, progress: Progress, cancel: Cancel) -> None:
        """See Kind."""
        vm_accel.choose(disk.ensure(progress, cancel).kernel, progress, cancel)

    def up(self, spec: Spec, progress: Progress, cancel: Cancel) -> None:
        """See Kind. A disk that was used before is kept, unless its system does not come up any more."""
        base = disk.ensure(progress, cancel)
        accel = vm_accel.choose(base.kernel, progress, cancel)
        self._clear_leftovers(spec, base, progress)
        here = _folder(spec)
        if vm_process.owner(here) is not None:
            if _listens(spec) and _knock(here, cancel):
                return
            progress("the machine runs, but its system does not answer: cutting its power")
            vm_process.kill(here)
        if (here / "ready").exists():
            try:
                _start(spec, base, accel, progress, cancel)
            except (DeadlineExceeded, StepFailed) as error:
                cancel.check()
                progress(f"its disk does not come up ({error.info.what}): beginning with a new one")
                _remove(spec)
            else:
                return
        _make(spec, base, accel, progress, cancel)

    def status(self, spec: Spec) -> Seen:
        """See Kind."""
        here = _folder(spec)
        ready = (here / "ready").exists()
        pid = vm_process.owner(here)
        if pid is None:
            if ready:
                return Seen(Condition.STOPPED, "powered off; its disk is kept")
            return Seen(Condition.BROKEN, "half made") if here.exists() else Seen(Condition.ABSENT)
        if boot_id := qmp.ask(here, "boot-id"):
            return Seen(Condition.RUNNING, f"process {pid}", boot_id)
        return Seen(Condition.BROKEN, "its system does not answer" if ready else "half made: it is still starting")

    def power(self, spec: Spec, how: Power, progress: Progress, cancel: Cancel) -> None:
        """See Kind. A machine that is off is switched on."""
        base = disk.ensure(progress, cancel)
        accel = vm_accel.choose(base.kernel, progress, cancel)
        here = _folder(spec)
        if vm_process.owner(here) is None:
            _start(spec, base, accel, progress, cancel)
            return
        before = qmp.ask(here, "boot-id") or ""
        if how is Power.CYCLE:
            qmp.execute(here, "system_reset")
        elif (answer := qmp.ask(here, "reboot", timeout=_KNOCK)) != "ok":
            raise StepFailed(
                f"{spec.name} does not take the request to reboot",
                why=answer or "its system does not answer",
                next="opsctl sandbox reset",
            )
        _await(spec, before, accel.patience, progress, cancel)

    def down(self, spec: Spec, progress: Progress, cancel: Cancel) -> None:
        """See Kind."""
        _remove(spec)

    def purge(self, progress: Progress) -> None:
        """See Kind: everything is in the cache folder."""

    def _clear_leftovers(self, spec: Spec, base: disk.Base, progress: Progress) -> None:
        here = _folder(spec)
        if not here.exists():
            return
        made_for = here / "made-for"
        if not made_for.exists() or made_for.read_text() != _made_for(spec, base):
            progress("removing a machine that was made for something else, or only half")
            _remove(spec)
        elif vm_process.owner(here) is None and not (here / "ready").exists():
            progress("removing a half-made machine")
            _remove(spec)


def _folder(spec: Spec) -> Path:
    return spec.folder / "vm"


def _made_for(spec: Spec, base: disk.Base) -> str:
    """What a machine and its layer cannot change any more; the port is QEMU's, and only as old as its process."""
    parts = (base.build, spec.name, spec.port, spec.memory, spec.authorized_key, spec.host_key_public)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _make(spec: Spec, base: disk.Base, accel: vm_accel.Accel, progress: Progress, cancel: Cancel) -> None:
    here = _folder(spec)
    here.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        (here / "made-for").write_text(_made_for(spec, base))
        disk.add_layer(base, here / vm_boot.LAYER, cancel)
        _start(spec, base, accel, progress, cancel)
    except BaseException:
        _remove(spec)
        raise
    (here / "ready").touch()


def _start(spec: Spec, base: disk.Base, accel: vm_accel.Accel, progress: Progress, cancel: Cancel) -> None:
    here = _folder(spec)
    progress(f"starting the machine {spec.name} ({_HOW[accel.name]})")
    vm_boot.write_identity(spec, here)
    # Its pipes close when QEMU has opened all it needs and goes on by itself.
    try:
        procs.output(["env", "-C", str(here), *vm_boot.argv(spec, base, accel)], cancel=cancel, timeout=_KNOCK)
        _await(spec, "", accel.patience, progress, cancel)
    except BaseException:
        vm_process.kill(here)
        raise
    finally:
        (here / vm_boot.IDENTITY).unlink(missing_ok=True)


def _await(spec: Spec, before: str, patience: float, progress: Progress, cancel: Cancel) -> None:
    """Wait until the system answers with another boot id than `before`, and sshd on its port."""
    here = _folder(spec)
    bound = cancel.child(patience)
    started = said = time.monotonic()
    while not ((boot_id := qmp.ask(here, "boot-id")) and boot_id != before and _listens(spec)):
        if vm_process.owner(here) is None:
            raise StepFailed(f"the machine {spec.name} ended while it started", why=_last_words(here))
        if time.monotonic() - said >= _NEWS:
            said = time.monotonic()
            progress(f"waits for {spec.name}'s system ({said - started:.0f} s; {_last_words(here)})")
        if bound.wait(0.5):
            cancel.check(f"the system of {spec.name}")
            raise DeadlineExceeded(
                f"the system of {spec.name} did not answer within {patience:.0f} s",
                why=_last_words(here),
                next=f"opsctl sandbox reset --name {spec.name}",
            )


def _knock(here: Path, cancel: Cancel) -> bool:
    """Whether the system answers, given some time: it may be busy, or just starting."""
    bound = cancel.child(_KNOCK)
    while not qmp.ask(here, "boot-id"):
        if bound.wait(0.5):
            cancel.check()
            return False
    return True


def _listens(spec: Spec) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", spec.port), timeout=5) as peer:
            peer.settimeout(15)
            return peer.recv(4) == b"SSH-"
    except OSError:
        return False


def _last_words(here: Path) -> str:
    """The last line on the machine's console."""
    try:
        lines = _TERMINAL.sub("", (here / vm_boot.CONSOLE).read_text(errors="replace")[-4000:]).splitlines()
    except OSError:
        lines = []
    return next((line.strip()[:100] for line in reversed(lines) if line.strip()), "its console is empty")


def _remove(spec: Spec) -> None:
    here = _folder(spec)
    vm_process.kill(here)
    shutil.rmtree(here, ignore_errors=True)


_HOW = {"kvm": "with KVM, some seconds", "tcg": "emulated, half a minute or more"}
