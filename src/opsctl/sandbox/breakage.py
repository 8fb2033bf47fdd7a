"""Breaks a sandbox's droplet in the ways droplets fail, and mends exactly that."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError, DeadlineExceeded, OpsError, StepFailed, UnreachableError, UsageError
from opsctl.sandbox import breakage_faults as faults
from opsctl.sandbox import breakage_record as record
from opsctl.sandbox.breakage_faults import Fault, Options
from opsctl.sandbox.breakage_inside import Inside, inside, values
from opsctl.sandbox.breakage_record import Broken
from opsctl.sandbox.kinds import Kind, Progress, Spec

_STRIKES = 240.0  # seconds that an emulated machine may need to fill its memory
_BOOT_ID = "cat /run/sandbox/boot_id 2>/dev/null || cat /proc/sys/kernel/random/boot_id"


def break_(kind: Kind, spec: Spec, name: str, options: Options, progress: Progress, cancel: Cancel) -> Broken:
    """Break one droplet; what was done is written down before and after, so that it can always be undone.

    Raises UsageError for a fault that stands already or an option it has no use for, ConfigError where this kind
    cannot, StepFailed with what the droplet said.
    """
    fault = faults.named(name)
    fault.check(options, kind.name)
    droplet = inside(kind.name, spec)
    boot_id = _boot_id(droplet, cancel)
    there = record.standing(spec, boot_id)
    same = next((each for each in there if (each.what, each.service) == (name, _about(options))), None)
    if same is not None and name != "oom":
        raise UsageError(
            f"{spec.name} is broken so already: {same.detail}", next=f"opsctl sandbox mend {name}   (then again)"
        )
    there = tuple(each for each in there if each is not same)  # the memory can run out as often as one likes
    progress(f"{spec.name}: {name}")
    ends = boot_id if faults.ends_with_boot(fault, options, kind.name) else ""
    since = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    begun = Broken(name, "begun, and maybe half done", since, _about(options), ends)
    record.save(spec, [*there, begun])
    try:
        notes = _strike(droplet, fault, options, cancel)
    except StepFailed:
        # Half a breakage is none that anybody asked for.
        with suppress(OpsError):
            _undo(droplet, begun, cancel)
            record.save(spec, there)
        raise
    detail = faults.detail(fault, options, kind.name, notes)
    broken = Broken(name, detail, since, begun.service, ends, notes)
    record.save(spec, [*there, broken])
    if name == "oom":
        progress(f"{spec.name}: waits for the kernel to kill")
        _await(droplet, fault, notes, cancel)
    return broken


def mend(kind: Kind, spec: Spec, name: str | None, progress: Progress, cancel: Cancel) -> tuple[Broken, ...]:
    """Undo one kind of fault, or all of them, the last one first; what a reboot has undone is only struck off.

    Returns what was undone. Raises StepFailed with what the droplet said; what could not be undone stays written
    down.
    """
    if name is not None:
        faults.named(name)
    left = list(record.load(spec))
    if not left:
        return ()
    droplet = inside(kind.name, spec)
    mended = []
    # A droplet that stands still can be mended in no other way.
    latest_first = left[::-1]
    latest_first.sort(key=lambda fault: fault.what != "hung")
    for each in latest_first:
        if name not in (None, each.what):
            continue
        if each.what == "hung" or not each.over(_boot_id(droplet, cancel)):
            progress(f"{spec.name}: mends {each.what}{f' of {each.service}' if each.service else ''}")
            _undo(droplet, each, cancel)
        left.remove(each)
        record.save(spec, left)
        mended.append(each)
    return tuple(mended)


def mend_if_reachable(kind: Kind, spec: Spec, progress: Progress, cancel: Cancel) -> None:
    """Undo what stands, before or after a droplet is started; one that is off or gone is left alone."""
    with suppress(UnreachableError):
        mend(kind, spec, None, progress, cancel)


def free_ports(kind: Kind, spec: Spec, progress: Progress, cancel: Cancel) -> None:
    """Start a droplet's engine anew where it holds ports for no container: one that was killed at a bad moment does."""
    held = None
    with suppress(UnreachableError, ConfigError):  # one made by an older opsctl can only be reached by its network
        held = values(_run(inside(kind.name, spec), "mend", "ports", (), cancel)).get("ports")
    if held:
        progress(f"{spec.name}: its engine held port {held.replace(' ', ', ')} for no container: started it anew")


def _undo(droplet: Inside, broken: Broken, cancel: Cancel) -> None:
    if broken.what == "hung":
        droplet.thaw(cancel)
        return
    verb = faults.script(faults.named(broken.what), droplet.kind)
    _run(droplet, "mend", verb, faults.mend_args(verb, broken.notes), cancel)


def _strike(droplet: Inside, fault: Fault, options: Options, cancel: Cancel) -> dict[str, str]:
    if fault.name == "hung":
        droplet.freeze(cancel)
        return {}
    verb = faults.script(fault, droplet.kind)
    return values(_run(droplet, "break", verb, faults.break_args(fault, options), cancel))


def _await(droplet: Inside, fault: Fault, notes: dict[str, str], cancel: Cancel) -> None:
    bound = cancel.child(_STRIKES)
    args = faults.mend_args(fault.name, notes)

    def happened() -> bool:
        # A machine whose memory runs out may be too busy to answer: that is on its way to what was asked for.
        with suppress(UnreachableError):
            return droplet.run(_script(), "done", fault.name, *args, cancel=cancel)[0] == 0
        return False

    while not happened():
        if bound.wait(0.3):
            cancel.check("the kernel to kill")
            raise DeadlineExceeded(
                f"nothing was killed within {_STRIKES:.0f} s",
                why="the memory is not full yet",
                next="opsctl sandbox mend oom",
            )


def _run(droplet: Inside, what: str, verb: str, args: Sequence[str], cancel: Cancel) -> str:
    code, said = droplet.run(_script(), what, verb, *args, cancel=cancel, timeout=120)
    if code != 0:
        raise StepFailed(
            f"the droplet would not {what}: {verb}",
            why=said or f"exit {code}",
            next="opsctl sandbox break --list" if what == "break" else "opsctl sandbox reset   (makes it anew)",
        )
    return said


def _boot_id(droplet: Inside, cancel: Cancel) -> str:
    code, said = droplet.run(_BOOT_ID, cancel=cancel, timeout=20)
    return said if code == 0 else ""


def _about(options: Options) -> str:
    return options.service or options.victim or ""


@cache
def _script() -> str:
    folder = Path(__file__).parent
    return "".join((folder / name).read_text() for name in ("breakage_engine.sh", "breakage.sh"))
