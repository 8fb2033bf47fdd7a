"""The plan that puts opsctl onto a droplet, or brings it up to date. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from opsctl.jobs import boot
from opsctl.jobs.host_actions import Activate, DropFiles, PutApp, PutUnit, cron_text, digest, unit_text
from opsctl.jobs.host_facts import APP, CONFIG, CRON_REPLAY, CURRENT, FOLDER, LINK, REPLAY, UNITS, HostFacts
from opsctl.model.droplet_app import Bundle, Target
from opsctl.model.errors import StepFailed
from opsctl.model.operate import DropletFacts
from opsctl.model.plan import Plan, Step
from opsctl.model.stack import Droplet, Stack
from opsctl.model.stackfile_droplet import SECRETS, DropletFiles
from opsctl.model.units import show_size

_ROOM = 3  # times its size: the archive, the new one, the old one


@dataclass(frozen=True)
class Wanted:
    """What is to be on the droplet. `how` is how a boot is replayed: systemd, cron, or "" not at all."""

    bundle: Bundle
    target: Target
    files: DropletFiles
    how: str


def target_of(found: HostFacts, droplet: str) -> Target:
    """The Python that opsctl will run with. Raises StepFailed where none is new enough."""
    if found.targets:
        return found.targets[0]
    have = ", ".join(found.pythons) or "none"
    raise StepFailed(
        f"opsctl cannot run on {droplet}: it needs Python 3.11 or later there",
        why=f"found: {have}",
        next="apt-get install python3   # on the droplet; Debian 12, Ubuntu 24.04 or later bring a new enough one",
        code="python-too-old",
    )


def how_to_replay(found: HostFacts, droplet: Droplet, *, cron: bool) -> tuple[str, tuple[str, ...]]:
    """How a boot is replayed, and what is to be said about it."""
    if droplet.boot != "replay":
        return "", ()
    if found.systemd:
        return "systemd", ()
    if found.cron and cron:
        return "cron", ("without systemd nothing notices that only Docker was restarted: run opsctl startup then",)
    offer = (
        "cron is there: opsctl host install --cron replays after a boot" if found.cron else "there is no cron either"
    )
    return "", (
        f"boot: replay is not possible on {droplet.name}: it has no systemd to bind to Docker; {offer}",
        "the containers keep their restart policies, and Docker starts them all at once after a boot",
    )


def plan_install(
    found: HostFacts, wanted: Wanted, stack: Stack, droplet: Droplet, facts: DropletFacts | None, *, command: str
) -> Plan:
    """The steps that are still to be done; none where all is as wanted. Raises StepFailed for want of space."""
    steps: list[Step] = []
    bundle = wanted.bundle
    whole = f"{APP}/{bundle.name}"
    broken = not found.answers.startswith("opsctl ")
    if bundle.name not in found.versions or (broken and found.current == whole):
        _check_room(found, bundle, droplet.name)
        action = PutApp(
            bundle.name, bundle.digest, bundle.files, bundle.size, dict(bundle.packages), wanted.target.python
        )
        title = f"put opsctl {bundle.version} into {whole}: {bundle.files} files, {show_size(bundle.size)}"
        steps.append(Step("app", title, action))
    if (
        steps
        or broken
        or found.current != whole
        or found.link != f"{CURRENT}/bin/opsctl"
        or differing(found, wanted.files)
    ):
        steps.append(_activation(wanted, tuple(step.id for step in steps)))
    if (unit := _unit(found, wanted.how)) is not None:
        steps.append(_after(unit, steps))
    drops = _leftovers(found, wanted)
    if facts is not None and (step := boot_step(facts, stack, droplet, replay=bool(wanted.how))) is not None:
        steps.append(_after(step, steps))
    if drops is not None:
        steps.append(_after(drops, steps))
    return Plan(command, tuple(steps))


def _after(step: Step, steps: Sequence[Step]) -> Step:
    return Step(step.id, step.title, step.action, needs=tuple(each.id for each in steps[-1:]))


def boot_step(facts: DropletFacts, stack: Stack, droplet: Droplet, *, replay: bool) -> Step | None:
    """Hand the later phases over to opsctl, or give them back to the engine; None where it is so already."""
    if not replay and not facts.boot.replay and not facts.boot.policies:
        return None
    running = [
        name
        for name in stack.services
        if (container := facts.of(name)) is not None and container.status in ("running", "restarting")
    ]
    # What runs at the first installation is what is to be up; from then on startup and stop say so.
    first = replay and not facts.boot.replay
    plan = boot.plan_boot(facts, stack, droplet, start=running if first else (), replay=replay)
    return boot.step_of(plan) if plan.policies or plan.state != facts.boot else None


def _activation(wanted: Wanted, needs: tuple[str, ...]) -> Step:
    files = configuration(wanted.files)
    named = f" and {SECRETS} ({len(wanted.files.secrets)} values, for root alone)" if wanted.files.secrets else ""
    digests = {path: digest(data) for path, data in contents(wanted.files).items()}
    action = Activate(wanted.bundle.name, files, digests, tuple(sorted(wanted.files.secrets)))
    title = f"write {CONFIG}{named}, then switch {LINK} to {wanted.bundle.name}"
    return Step("activate", title, action, needs=needs)


def configuration(files: DropletFiles) -> dict[str, str]:
    """Path → mode of everything in the configuration's folder."""
    found = dict.fromkeys(contents(files), "644")
    return {**found, f"{FOLDER}/{SECRETS}": "600"} if files.secrets else found


def contents(files: DropletFiles) -> dict[str, bytes]:
    """What holds no secret, by path."""
    return {CONFIG: files.text.encode(), **{f"{FOLDER}/{name}": data for name, data in files.files.items()}}


def differing(found: HostFacts, files: DropletFiles) -> tuple[str, ...]:
    """The paths whose content there is not what would be put there."""
    paths = [path for path, data in contents(files).items() if not _same(found, path, data)]
    secrets = f"{FOLDER}/{SECRETS}"
    placed = found.files.get(secrets)
    if not files.secrets:
        return (*paths, secrets) if placed is not None else tuple(paths)
    now = digest(files.secrets_text().reveal().encode())
    same = placed is not None and placed.digest == now and placed.mode == "600"
    return tuple(paths) if same else (*paths, secrets)


def _same(found: HostFacts, path: str, data: bytes) -> bool:
    placed = found.files.get(path)
    if placed is None:
        return False
    # Only what lies directly in the folder is hashed there; the size has to do for the rest.
    return placed.digest == digest(data) if placed.digest else placed.size == len(data)


def _unit(found: HostFacts, how: str) -> Step | None:
    if not how:
        return None
    cron = how == "cron"
    path = CRON_REPLAY if cron else f"{UNITS}/{REPLAY}"
    wanted = digest((cron_text() if cron else unit_text()).encode())
    placed = found.files.get(path)
    enabled = cron or any(each.name == REPLAY and each.enabled == "enabled" for each in found.units)
    if placed is not None and placed.digest == wanted and enabled:
        return None
    title = f"write {path}" if cron else f"write {path} and enable it"
    return Step("unit", title, PutUnit(path, wanted, cron))


def _leftovers(found: HostFacts, wanted: Wanted) -> Step | None:
    """Older versions, and the unit where nothing is replayed any more."""
    old = tuple(f"{APP}/{name}" for name in found.versions if name != wanted.bundle.name)
    gone = [f"{UNITS}/{REPLAY}"] if wanted.how != "systemd" else []
    gone += [CRON_REPLAY] if wanted.how != "cron" else []
    gone += [f"{FOLDER}/{SECRETS}"] if not wanted.files.secrets else []
    paths = tuple(path for path in gone if path in found.files)
    if not old and not paths:
        return None
    units = (REPLAY,) if f"{UNITS}/{REPLAY}" in paths else ()
    title = f"remove {', '.join(each.rpartition('/')[2] if each in old else each for each in (*old, *paths))}"
    return Step("tidy", title, DropFiles(paths, units, old))


def _check_room(found: HostFacts, bundle: Bundle, droplet: str) -> None:
    if found.free and found.free < _ROOM * bundle.size:
        raise StepFailed(
            f"there is no room for opsctl on {droplet}",
            why=f"{show_size(found.free)} are free in {APP}, and {show_size(_ROOM * bundle.size)} are needed",
            next="docker system df; du -xh --max-depth=2 / | sort -h | tail   # on the droplet",
            code="no-room",
        )
