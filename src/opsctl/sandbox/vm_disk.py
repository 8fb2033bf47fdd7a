"""The disk of a machine droplet as its provider treats it: copied while it runs, and put back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from opsctl.model.cancel import Cancel
from opsctl.model.errors import OpsError, StepFailed
from opsctl.sandbox import procs, qmp, vm_boot, vm_process
from opsctl.sandbox.disk import Base

MADE_FOR = "made-for"
_COPY = 600.0
_GO = 5.0


def base_of(here: Path) -> Base:
    """The base under a machine's layer. Raises StepFailed when there is no machine."""
    try:
        return Base(Path(json.loads((here / MADE_FOR).read_text())[1]))
    except (OSError, ValueError) as error:
        raise StepFailed(f"there is no machine in {here}", why=str(error)) from None


def power_off(here: Path, cancel: Cancel) -> None:
    """Cut a machine's power: at once for its system, but QEMU may still write down what it knows of the layer."""
    try:
        qmp.execute(here, "quit")
    except OpsError:
        vm_process.kill(here)
        return
    bound = cancel.child(_GO)
    while vm_process.owner(here) is not None:
        if bound.wait(0.05):
            vm_process.kill(here)


def snapshot(here: Path, folder: Path, name: str, cancel: Cancel) -> int:
    """Copy the layer; the machine stands still meanwhile. The copy's size in bytes."""
    working, done = folder / "snapshots" / f".{name}", _folder(folder, name)
    shutil.rmtree(working, ignore_errors=True)
    working.mkdir(parents=True, mode=0o700)
    held = vm_process.owner(here) is not None
    if held:
        qmp.execute(here, "stop", timeout=30)  # writes what QEMU keeps in memory of the layer
    try:
        _copy(here / vm_boot.LAYER, working / vm_boot.LAYER, cancel)
        (working / "build").write_text(base_of(here).build)
        shutil.rmtree(done, ignore_errors=True)
        working.rename(done)
    finally:
        shutil.rmtree(working, ignore_errors=True)
        if held:
            qmp.execute(here, "cont")
    return (done / vm_boot.LAYER).stat().st_blocks * 512


def restore(here: Path, folder: Path, name: str, cancel: Cancel) -> None:
    """Put a snapshot's layer in the place of the machine's. Raises StepFailed when it lies on another base."""
    kept = _folder(folder, name)
    if not kept.is_dir():
        raise StepFailed(f"snapshot {name} is gone", why=f"there is no {kept}")
    if (kept / "build").read_text() != base_of(here).build:
        raise StepFailed(f"snapshot {name} fits no more", why="the base under the machine's disk was baked anew")
    new = here / f"{vm_boot.LAYER}.new"
    _copy(kept / vm_boot.LAYER, new, cancel)
    new.rename(here / vm_boot.LAYER)


def drop(folder: Path, name: str) -> None:
    """Remove a snapshot."""
    shutil.rmtree(_folder(folder, name), ignore_errors=True)


def _folder(folder: Path, name: str) -> Path:
    return folder / "snapshots" / name


def _copy(source: Path, target: Path, cancel: Cancel) -> None:
    argv = ["cp", "--reflink=auto", "--sparse=always", str(source), str(target)]
    procs.output(argv, cancel=cancel, timeout=_COPY)
