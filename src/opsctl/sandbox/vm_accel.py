"""How this machine can run another one: with the processor's help, or by emulation."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from opsctl.model.cancel import Cancel
from opsctl.model.errors import DeadlineExceeded
from opsctl.sandbox import procs
from opsctl.sandbox.kinds import Progress
from opsctl.sandbox.paths import cache_dir

QEMU = "qemu-system-x86_64"
_TRIAL = 10.0


@dataclass(frozen=True)
class Accel:
    """One way to run a machine. `patience` is how many seconds its system may take to answer."""

    name: str
    options: tuple[str, ...]
    kernel: tuple[str, ...]
    patience: float


KVM = Accel("kvm", ("-accel", "kvm", "-cpu", "host"), (), 60.0)
# With cx16 kernel 6.12 panics in QEMU 7.2's emulation. The emulated time-stamp counter is the real one: to trust it
# saves the slow emulated clocks. Docker's programs fill 256 MiB of translated code again and again, and each time all
# of it is thrown away; memory is only taken as code comes.
TCG = Accel("tcg", ("-accel", "tcg,thread=multi,tb-size=1024", "-cpu", "Nehalem,-cx16"), ("tsc=reliable",), 600.0)


def choose(kernel: Path, progress: Progress, cancel: Cancel) -> Accel:
    """KVM if a kernel really starts with it, else emulation; tried once per boot of this machine.

    /dev/kvm alone says little: inside some clouds' machines it is there, and a guest never gets anywhere.
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return TCG
    seen = _seen()
    known = seen.read_text().split() if seen.is_file() else []
    if known[:1] != [_boot()]:
        progress(f"trying KVM (at most {_TRIAL:.0f} s, once)")
        works = _works(kernel, cancel)
        _remember(works)
        return KVM if works else TCG
    return KVM if known[1:] == ["works"] else TCG


def distrust() -> None:
    """A whole system did not come up with KVM: emulation until this machine starts again."""
    _remember(False)


def _remember(works: bool) -> None:
    _seen().write_text(f"{_boot()} {'works' if works else 'hangs'}")


def _seen() -> Path:
    return cache_dir() / "kvm"


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _works(kernel: Path, cancel: Cancel) -> bool:
    """Whether a kernel without a disk gets as far as giving up, which ends its machine."""
    machine = ["-machine", "q35", "-m", "256", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    argv = [QEMU, *machine, *KVM.options, "-kernel", str(kernel), "-append", "panic=-1"]
    try:
        return procs.attempt(argv, cancel=cancel, timeout=_TRIAL)[0] == 0
    except DeadlineExceeded:
        cancel.check()
        return False
