"""The plan that takes opsctl off a droplet again. Pure."""

from __future__ import annotations

from opsctl.jobs.call import STATE_DIR
from opsctl.jobs.host_actions import DropFiles
from opsctl.jobs.host_facts import APP, FOLDER, UNITS, HostFacts
from opsctl.jobs.host_install import boot_step
from opsctl.model.operate import DropletFacts
from opsctl.model.plan import Plan, Step
from opsctl.model.stack import Droplet, Stack

_OURS = (APP, f"{STATE_DIR}/boot.json")


def kept(found: HostFacts) -> tuple[str, ...]:
    """What stays: who did what, releases, logs. A laptop's opsctl needs it as before."""
    return tuple(path for path in found.state if path not in _OURS)


def plan_remove(found: HostFacts, stack: Stack, droplet: Droplet, facts: DropletFacts | None) -> Plan:
    """First the policies, then the units, then the files, the program itself last."""
    steps: list[Step] = []
    if facts is not None and (step := boot_step(facts, stack, droplet, replay=False)) is not None:
        steps.append(step)
    units = tuple(each.name for each in found.units)
    paths = tuple(found.files)
    count = found.count
    if not (units or paths or found.versions or count):
        return Plan("host remove", tuple(steps))
    folders = (APP,) if count or found.versions else ()
    action = DropFiles(paths, units, folders, (*_parents(paths), FOLDER))
    title = f"remove {len(paths)} files and {len(units)} units" + (f", and {APP} with {count} files" if folders else "")
    steps.append(Step("drop", title, action, needs=tuple(each.id for each in steps), destructive=True))
    return Plan("host remove", tuple(steps))


def _parents(paths: tuple[str, ...]) -> tuple[str, ...]:
    """The folders inside the configuration's folder, the deepest first."""
    inside = {path.rpartition("/")[0] for path in paths if path.startswith(f"{FOLDER}/")} - {FOLDER, UNITS}
    return tuple(sorted(inside, key=len, reverse=True))
