"""The registry: every job that a playbook can call, with its parameters, and how it is done in this process."""

from __future__ import annotations

from collections.abc import Mapping

from opsctl.jobs.playbook_place import Done, Job, Jobs, Order, Perform, from_changed
from opsctl.model.events import Outcome
from opsctl.model.playbook import JobSpec, Parameter
from opsctl.model.units import show_size

_IGNORE = Parameter("switch", "Start what does not fit, too.")


def _startup(order: Order) -> Done:
    from opsctl.jobs.startup import startup
    from opsctl.jobs.startup_select import Options

    options = Options(
        order.get("phase"),
        order.get("only", ()),
        order.get("skip", ()),
        order.get("ignore_memory", False),
        order.get("settle", 0.0),
    )
    return from_changed(startup(order.call, options))


def _stop(order: Order) -> Done:
    from opsctl.jobs.stop import stop

    services = order.get("services", ())
    if not services:  # a list that came out empty stops nothing, and not everything
        return Done(Outcome.UNCHANGED, "nothing to stop")
    return from_changed(stop(order.call, services, grace=order.get("grace")))


def _restart(order: Order) -> Done:
    from opsctl.jobs.restart import restart

    return from_changed(restart(order.call, order.get("service"), ignore_memory=order.get("ignore_memory", False)))


def _why(order: Order) -> Done:
    from opsctl.jobs.why import why

    place = order.place
    service = order.get("service", "")
    found = why(place.reads, place.why, place.stack, place.droplet, service=service, cancel=place.cancel)
    return Done(Outcome.UNCHANGED, found.answer if isinstance(found.answer, str) else " ".join(found.answer))


def _memory(order: Order) -> Done:
    from opsctl.jobs.memory import collect

    place = order.place
    seen = collect(place.reads, place.memory, place.stack, place.droplet, cancel=place.cancel)
    room = f"{show_size(seen.host.available)} of {show_size(seen.host.total)} available"
    return Done(Outcome.UNCHANGED, f"{room}, {len(seen.findings)} findings")


def _job(
    name: str,
    about: str,
    perform: Perform,
    parameters: Mapping[str, Parameter] | None = None,
    *,
    changes: bool = True,
    away: bool = False,
) -> Job:
    return Job(JobSpec(name, about, parameters or {}, changes, away), perform)


_ALL = (
    _job(
        "startup",
        "Start services in phases, each gated on health and memory.",
        _startup,
        {
            "phase": Parameter("whole", "Up to this phase; all of them without.", least=1),
            "only": Parameter("services", "These services and nothing else."),
            "skip": Parameter("services", "All but these."),
            "ignore_memory": _IGNORE,
            "settle": Parameter("duration", "Watch that long at the end that nothing falls over."),
        },
    ),
    _job(
        "stop",
        "Stop services, the last phase first.",
        _stop,
        {
            "services": Parameter("services", "Which.", required=True),
            "grace": Parameter("duration", "Before one is killed; else the container's own."),
        },
    ),
    _job(
        "restart",
        "Stop and start one service, and prove that it is back.",
        _restart,
        {"service": Parameter("service", "Which.", required=True), "ignore_memory": _IGNORE},
    ),
    _job(
        "why",
        "What died, who was killed for it.",
        _why,
        {"service": Parameter("service", "About this one only.")},
        changes=False,
    ),
    _job("memory report", "Where the memory goes.", _memory, changes=False),
)

JOBS: Jobs = {job.spec.name: job for job in _ALL}
SPECS: Mapping[str, JobSpec] = {name: job.spec for name, job in JOBS.items()}
