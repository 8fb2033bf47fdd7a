"""The sandbox droplet as a machine of its own, run by QEMU: own kernel, systemd, cgroup v2, real reboots."""

from __future__ import annotations

import base64
import hashlib
import json
import platform
import re
import shutil
import socket
import time
from dataclasses import replace
from pathlib import Path

from opsctl.model.cancel import Cancel
from opsctl.model.errors import DeadlineExceeded, StepFailed, UnreachableError
from opsctl.sandbox import disk, procs, qmp, vm_accel, vm_boot, vm_disk, vm_process
from opsctl.sandbox.kinds import Condition, Power, Progress, Seen, Spec, Switch

_NEEDED = {vm_accel.QEMU: "qemu-system-x86", "qemu-img": "qemu-utils"}
# Colours and cursor moves, control characters, and systemd's running stars.
_TERMINAL = re.compile(r"\x1b[\[(][0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f]|^\[[ *]{6}\] ", re.MULTILINE)
_KNOCK = 30.0
_HALF_WAY = 120.0
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
        here = _folder(spec)
        base = _clear(spec, progress)
        if vm_process.owner(here) is not None:
            if _state(here) == "paused":  # whoever copied its disk was killed
                qmp.execute(here, "cont")
            if _knock(spec, _KNOCK if (here / "ready").exists() else _HALF_WAY, cancel):
                (here / "ready").touch()
                return
            progress(f"the machine {spec.name} runs, but its system does not answer: cutting its power")
            vm_process.kill(here)
            base = _clear(spec, progress)
        if base is not None:
            try:
                _start(spec, base, progress, cancel)
            except (DeadlineExceeded, StepFailed) as error:
                cancel.check()
                progress(f"its disk does not come up ({error.info.what}): beginning with a new one")
                _remove(spec)
            else:
                return
        _make(spec, disk.ensure(progress, cancel), progress, cancel)

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
        here = _folder(spec)
        if vm_process.owner(here) is None:
            self.up(spec, progress, cancel)
            return
        if how is Power.CYCLE:
            before = qmp.ask(here, "boot-id") or ""
            _reset(here)
        else:
            before = _await(spec, "", vm_accel.TCG.patience, progress, cancel)
            qmp.ask(here, "reboot", timeout=_KNOCK)
        _await(spec, before, vm_accel.TCG.patience, progress, cancel)

    def down(self, spec: Spec, progress: Progress, cancel: Cancel) -> None:
        """See Kind."""
        _remove(spec)

    def is_on(self, spec: Spec) -> bool:
        """See Kind: its process is there, and the system in it has not switched the machine off."""
        return vm_process.owner(_folder(spec)) is not None

    def switch(self, spec: Spec, how: Switch, cancel: Cancel) -> None:
        """See Kind."""
        here = _folder(spec)
        if not self.is_on(spec):
            if how in (Switch.ON, Switch.CYCLE):
                base = vm_disk.base_of(here)
                _launch(spec, base, vm_accel.choose(base.kernel, _silent, cancel), cancel)
        elif how is Switch.CYCLE:
            _reset(here)
        elif how is Switch.OFF:
            vm_disk.power_off(here, cancel)
        elif how is Switch.ASK_OFF:
            qmp.ask(here, f"run {base64.b64encode(b'systemctl poweroff --no-block').decode()}", timeout=_KNOCK)
        elif how is Switch.ASK_REBOOT:
            qmp.ask(here, "reboot", timeout=_KNOCK)

    def resize(self, spec: Spec, memory: int, cancel: Cancel) -> None:
        """See Kind: the next start has it."""
        _note(replace(spec, memory=memory), vm_disk.base_of(_folder(spec)))

    def snapshot(self, spec: Spec, name: str, cancel: Cancel) -> int:
        """See Kind."""
        return vm_disk.snapshot(_folder(spec), spec.folder, name, cancel)

    def restore(self, spec: Spec, name: str, cancel: Cancel) -> None:
        """See Kind."""
        vm_disk.restore(_folder(spec), spec.folder, name, cancel)

    def drop_snapshot(self, spec: Spec, name: str, cancel: Cancel) -> None:
        """See Kind."""
        vm_disk.drop(spec.folder, name)

    def purge(self, progress: Progress) -> None:
        """See Kind: everything is in the cache folder."""


def _folder(spec: Spec) -> Path:
    return spec.folder / "vm"


def _clear(spec: Spec, progress: Progress) -> disk.Base | None:
    """Remove what cannot be used any more; the base under the layer that is left, None when nothing is."""
    here = _folder(spec)
    if not here.exists():
        return None
    try:
        made_for, folder, build = json.loads((here / vm_disk.MADE_FOR).read_text())
    except (OSError, ValueError):
        made_for, folder, build = "", "", ""
    base = disk.Base(Path(folder))
    running = vm_process.owner(here) is not None
    if made_for != _made_for(spec):
        progress(f"removing a machine that was not made for {spec.name} as it is to be")
    elif not running and base.build != build:
        progress(f"removing the machine {spec.name}: the base under its disk is gone")
    elif not running and not (here / "ready").exists():
        progress(f"removing the half-made machine {spec.name}")
    else:
        return base
    _remove(spec)
    return None


def _made_for(spec: Spec) -> str:
    """What a machine cannot change any more, or took along at its first start."""
    parts = (spec.name, spec.port, spec.memory, spec.authorized_key, spec.host_key_public)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _note(spec: Spec, base: disk.Base) -> None:
    note = json.dumps((_made_for(spec), str(base.folder), base.build))
    (_folder(spec) / vm_disk.MADE_FOR).write_text(note)


def _make(spec: Spec, base: disk.Base, progress: Progress, cancel: Cancel) -> None:
    here = _folder(spec)
    here.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        _note(spec, base)
        disk.add_layer(base, here / vm_boot.LAYER, cancel)
        _start(spec, base, progress, cancel)
    except BaseException:
        _remove(spec)
        raise
    (here / "ready").touch()


def _start(spec: Spec, base: disk.Base, progress: Progress, cancel: Cancel) -> None:
    accel = vm_accel.choose(base.kernel, progress, cancel)
    try:
        _run(spec, base, accel, progress, cancel)
    except (DeadlineExceeded, StepFailed) as error:
        cancel.check()
        if accel is vm_accel.TCG:
            raise
        progress(f"not with KVM ({error.info.what}): emulating")
        vm_accel.distrust()
        _run(spec, base, vm_accel.TCG, progress, cancel)


def _run(spec: Spec, base: disk.Base, accel: vm_accel.Accel, progress: Progress, cancel: Cancel) -> None:
    progress(f"starting the machine {spec.name} ({_HOW[accel.name]})")
    _launch(spec, base, accel, cancel)
    try:
        _await(spec, "", accel.patience, progress, cancel)
    except BaseException:
        vm_process.kill(_folder(spec))
        raise


def _launch(spec: Spec, base: disk.Base, accel: vm_accel.Accel, cancel: Cancel) -> None:
    here = _folder(spec)
    vm_boot.write_identity(spec, here)
    argv = ["env", "-C", str(here), *vm_boot.argv(spec, base, accel)]
    try:
        procs.output(argv, cancel=cancel, timeout=_KNOCK)  # back when QEMU has opened all it needs
    except BaseException:
        vm_process.kill(here)
        raise
    finally:
        (here / vm_boot.IDENTITY).unlink(missing_ok=True)


def _reset(here: Path) -> None:
    qmp.execute(here, "system_reset")
    qmp.execute(here, "cont")  # a machine that was stopped would stay so


def _silent(_: str) -> None:
    """Nobody reads what a provider's switch would tell."""


def _await(spec: Spec, before: str, patience: float, progress: Progress, cancel: Cancel) -> str:
    """Wait until the system answers with another boot id than `before`, and sshd on its port; the boot id."""
    here = _folder(spec)
    bound = cancel.child(patience)
    started = said = time.monotonic()
    while not ((boot_id := qmp.ask(here, "boot-id")) and boot_id != before and _listens(spec)):
        if (state := _state(here)) != "running":
            raise StepFailed(f"the machine {spec.name} is {state}", why=_last_words(here))
        if time.monotonic() - said >= _NEWS:
            said = time.monotonic()
            progress(f"waits for {spec.name}'s system ({said - started:.0f} s; {_last_words(here)})")
        if bound.wait(0.5):
            cancel.check(f"the system of {spec.name}")
            raise DeadlineExceeded(
                f"the system of {spec.name} did not answer within {patience:.0f} s",
                why=_last_words(here),
                next="opsctl sandbox up   (looks again, and mends it)",
            )
    return boot_id


def _state(here: Path) -> str:
    """QEMU's word for it; `internal-error` is what broken KVM comes to. A busy monitor is no reason to worry."""
    try:
        return str(qmp.execute(here, "query-status")["status"])
    except UnreachableError:
        return "gone" if vm_process.owner(here) is None else "running"


def _knock(spec: Spec, patience: float, cancel: Cancel) -> bool:
    """Whether the system answers within some seconds: it may be busy, or just starting."""
    bound = cancel.child(patience)
    while not (qmp.ask(_folder(spec), "boot-id") and _listens(spec)):
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
