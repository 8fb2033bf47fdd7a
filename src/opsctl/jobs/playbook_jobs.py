"""The registry: every job that a playbook can call, with its parameters, and how it is done in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from opsctl.jobs.playbook_commands import COMMAND_JOBS
from opsctl.jobs.playbook_place import Done, Job, Jobs, Order, Perform, Place, from_changed
from opsctl.model.deploy import Deployed
from opsctl.model.errors import ErrorInfo, ExitCode
from opsctl.model.events import Outcome
from opsctl.model.playbook import JobSpec, Parameter
from opsctl.model.result import DropletResult
from opsctl.model.secret import Secret
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


def _recover(order: Order) -> Done:
    from opsctl.jobs.recover import recover
    from opsctl.jobs.recover_link import Wishes
    from opsctl.model.recovery import Rung

    wishes = Wishes(
        up_to=Rung(order.get("up_to")),
        optimal=order.get("optimal", False),
        dry_run=order.dry_run,
        within=order.get("within", 300.0),
        ignore_memory=order.get("ignore_memory", False),
    )
    result = recover(order.place.rescue(order.run_id, order.again, order.dry_run), wishes)
    found = result.result
    if found is None or result.exit_code is not ExitCode.DONE:
        return Done(Outcome.FAILED, "", result.error, result.exit_code)
    titles = tuple(each.title for each in found.climbs)
    moved = bool(titles) if order.dry_run else any(each.outcome is Outcome.CHANGED for each in found.climbs)
    detail = "" if order.dry_run else "; ".join(titles) or "nothing had to be done"
    return Done(Outcome.CHANGED if moved else Outcome.UNCHANGED, detail, plan=titles if order.dry_run else ())


def _deploy(order: Order) -> Done:
    from opsctl.jobs.deploy import deploy, known_files
    from opsctl.jobs.deploy_options import Options
    from opsctl.jobs.deploy_source import folder_of, in_place, pushed
    from opsctl.model.deploy import Source

    call = replace(order.call, engine=order.place.deployer)
    known = known_files(call)
    folder = folder_of(call.droplet, order.get("into", ""), known)
    source = in_place(folder)
    if order.get("push"):
        source = pushed(Path(order.get("push")), folder, known)
    elif order.get("ref"):
        source = Source("ref", folder, ref=order.get("ref"))
    options = Options(
        pull=order.get("pull", False),
        build=order.get("build", False),
        remove_orphans=order.get("remove_orphans", False),
        ignore_memory=order.get("ignore_memory", False),
        phase=order.get("phase"),
        settle=order.get("settle", 0.0),
    )
    back = order.get("rollback_on_failure", False)
    return _deployed(deploy(call, source, options, rollback_on_failure=back))


def _release_before(place: Place) -> Mapping[str, str]:
    """The release in force, which an undo goes back to; none where nothing was ever deployed."""
    from opsctl.jobs.releases import read_releases

    call = replace(place.make_call("", "", True), engine=place.deployer)
    return {"release": next((each.id for each in read_releases(call) if each.current), "")}


def _rollback(order: Order) -> Done:
    from opsctl.jobs.deploy_options import Options
    from opsctl.jobs.releases import read_releases
    from opsctl.jobs.rollback import rollback

    call = replace(order.call, engine=order.place.deployer)
    if not read_releases(call):
        return Done(Outcome.UNCHANGED, "no release is kept: nothing was deployed")
    options = Options(
        remove_orphans=order.get("remove_orphans", False), ignore_memory=order.get("ignore_memory", False)
    )
    return _deployed(rollback(call, order.get("release", ""), options, with_env=order.get("with_env", False)))


def _deployed(result: DropletResult[Deployed]) -> Done:
    changed = result.result.changed if result.result else None
    done = from_changed(DropletResult(result.name, changed, result.error, result.exit_code))
    kept = result.result.release if result.result else ""
    return replace(done, detail=f"release {kept}: {done.detail}") if kept and done.error is None else done


def _validate(order: Order) -> Done:
    from opsctl.jobs.validate import Terms, chosen, validate

    place = order.place
    fresh = order.get("fresh", False)
    terms = Terms(order.get("within", 90.0 if fresh else 0.0), fresh)
    wanted = chosen(place.stack, order.get("probes", ()))
    found = validate(place.host, place.evidence, place.gauges, wanted, terms, cancel=place.cancel)
    failed = [each for each in found.probes if not each.passed]
    if not failed:
        return Done(Outcome.UNCHANGED, "; ".join(f"{each.name}: {each.said}" for each in found.probes))
    names = ", ".join(each.name for each in failed)
    error = ErrorInfo("probe-failed", f"probes that did not pass: {names}", failed[0].said, f"opsctl validate {names}")
    return Done(Outcome.FAILED, f"{names}: {failed[0].said}", error, ExitCode.GATE)


def _routes_away(order: Order) -> Done:
    return _routes(order, order.get("to"), restore=False)


def _routes_back(order: Order) -> Done:
    from opsctl.jobs.proxy import read

    place = order.place
    found = read(place.reads, place.droplet, order.get("service", "caddy"), cancel=place.cancel)
    if not found.kept:
        return Done(Outcome.UNCHANGED, "no route was taken away")
    return _routes(order, (), restore=True)


def _routes(order: Order, names: tuple[str, ...], *, restore: bool) -> Done:
    from opsctl.jobs.proxy import change

    result = change(order.call, order.get("service", "caddy"), names, restore=restore)
    found = result.result
    if found is None or result.exit_code is not ExitCode.DONE:
        return Done(Outcome.FAILED, "", result.error, result.exit_code)
    steps = tuple(step["title"] for step in found.plan["steps"]) if found.plan else ()
    moved = ", ".join(each.matcher for each in (*found.gone, *found.back))
    outcome = Outcome.CHANGED if steps else Outcome.UNCHANGED
    return Done(outcome, moved or "nothing leads there", plan=steps if order.dry_run else ())


def _dashboards(order: Order) -> Done:
    from opsctl.jobs.containers import read
    from opsctl.jobs.dashboards import export
    from opsctl.jobs.tunnel import find, parse_wish

    place = order.place
    wish = parse_wish(order.get("service", "grafana"))
    there = read(place.reads, place.stack, place.droplet, cancel=place.cancel)
    known = place.stack.services.get(wish.name)
    target = find(place.reads, there, wish, known, place.droplet, cancel=place.cancel)
    token = place.reveal(order.get("token").env) if "token" in order.arguments else Secret("")
    done = export(
        place.host,
        place.evidence,
        (target.host, target.host_port),
        Path(order.get("to")).expanduser(),
        token,
        dry_run=order.dry_run,
        cancel=place.cancel,
    )
    text = f"{len(done.dashboards)} dashboards in {done.to}"
    return Done(Outcome.CHANGED, text, plan=(text,) if order.dry_run else ())


def _job(
    name: str,
    about: str,
    perform: Perform,
    parameters: Mapping[str, Parameter] | None = None,
    *,
    changes: bool = True,
    away: bool = False,
    before: Callable[[Place], Mapping[str, str]] | None = None,
) -> Job:
    return Job(JobSpec(name, about, parameters or {}, changes, away), perform, before)


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
        "recover",
        "Bring a droplet back, with the mildest step that helps.",
        _recover,
        {
            "up_to": Parameter(
                "text", "Go no further than this.", True, ("service", "fallback", "reboot", "power-cycle")
            ),
            "optimal": Parameter("switch", "All phases, not only what must run."),
            "within": Parameter("duration", "How long a boot may take."),
            "ignore_memory": _IGNORE,
        },
        away=True,
    ),
    _job(
        "deploy",
        "Bring compose file and configuration to a droplet, and recreate what changed.",
        _deploy,
        {
            "ref": Parameter("text", "Fetch and check out in the droplet's checkout."),
            "push": Parameter("text", "Put this folder's files, or this file."),
            "into": Parameter("text", "The folder where `push` puts them; else beside the compose file."),
            "pull": Parameter("switch", "Pull images."),
            "build": Parameter("switch", "Build on the droplet."),
            "remove_orphans": Parameter("switch", "Remove containers of services that left the file."),
            "phase": Parameter("whole", "Bring up to this phase; else what runs.", least=1),
            "settle": Parameter("duration", "Watch that long at the end that nothing falls over."),
            "rollback_on_failure": Parameter("switch", "Go back by itself when it fails."),
            "ignore_memory": _IGNORE,
        },
        before=_release_before,
    ),
    _job(
        "rollback",
        "Bring back a release: compose file and images together.",
        _rollback,
        {
            "release": Parameter("text", "Its id; else the one before."),
            "with_env": Parameter("switch", "Bring back the env files of then, too."),
            "remove_orphans": Parameter("switch", "Remove containers of services that it does not have."),
            "ignore_memory": _IGNORE,
        },
    ),
    _job(
        "validate",
        "Ask the probes of the stack file.",
        _validate,
        {
            "probes": Parameter("texts", "Which; else all."),
            "fresh": Parameter("switch", "Only what is newer than this call counts."),
            "within": Parameter("duration", "Ask again that long until all have passed."),
        },
        changes=False,
    ),
    _job(
        "proxy without",
        "Take away the reverse proxy's routes to services, and those that they guard.",
        _routes_away,
        {
            "to": Parameter("services", "The services that nothing may lead to any more.", required=True),
            "service": Parameter("service", "The proxy's own service; caddy without."),
        },
    ),
    _job(
        "proxy restore",
        "Put back the routes that were there before the first was taken away.",
        _routes_back,
        {"service": Parameter("service", "The proxy's own service; caddy without.")},
    ),
    _job(
        "dashboards export",
        "Write Grafana's dashboards into files here.",
        _dashboards,
        {
            "to": Parameter("text", "The folder, on this machine.", required=True),
            "service": Parameter("text", "Grafana's own service, NAME or NAME:PORT; grafana without."),
            "token": Parameter("secret", "Where Grafana wants one."),
        },
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

JOBS: Jobs = {job.spec.name: job for job in (*_ALL, *COMMAND_JOBS)}
SPECS: Mapping[str, JobSpec] = {name: job.spec for name, job in JOBS.items()}
