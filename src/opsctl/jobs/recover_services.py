"""The rungs that need a droplet that answers: its engine, the services that failed, the fallback set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar

from opsctl.jobs.call import carry_out
from opsctl.jobs.criteria import Reading
from opsctl.jobs.lease import Patience
from opsctl.jobs.recover_link import Link, Story, Telling
from opsctl.jobs.startup import execute, find_sql, merged, startup
from opsctl.jobs.startup_plan import Planned, plan
from opsctl.jobs.startup_select import Options, phase_of
from opsctl.jobs.startup_steps import FindSql
from opsctl.jobs.stop import plan_stop, stop
from opsctl.model.errors import ExitCode, OpsError, StepFailed
from opsctl.model.events import Outcome
from opsctl.model.operate import DropletFacts
from opsctl.model.plan import Action, Plan, Step
from opsctl.model.ports import Script
from opsctl.model.recovery import Climb
from opsctl.model.result import DropletResult
from opsctl.model.run import Changed
from opsctl.model.stack import Droplet, Stack
from opsctl.spine.batch import Batch, Handler

T = TypeVar("T")

_ENGINE_BOUND = 90.0  # s

# A unit that failed too often is not started again before its failures are forgotten.
_ENGINE = r"""
export PATH="$PATH:/usr/local/bin:/usr/local/sbin:/usr/sbin:/sbin"
[ -z "$1" ] || export DOCKER_HOST="unix://$1"
answers() { timeout 5 docker version --format '{{.Server.Version}}' 2>/dev/null; }
[ "$3" = restart ] || ! answers || { echo '@@already'; exit 0; }
if [ -d /run/systemd/system ]; then
  systemctl reset-failed docker.service docker.socket 2>/dev/null
  said=$(timeout 60 systemctl "$3" docker 2>&1)
elif command -v rc-service >/dev/null; then said=$(timeout 60 rc-service docker "$3" 2>&1)
elif [ -x /etc/init.d/docker ]; then said=$(timeout 60 /etc/init.d/docker "$3" 2>&1)
else said='nothing here can start it: neither systemd nor an init script'; false; fi
[ $? = 0 ] || { printf '%s\n' "$said" >&2; exit 1; }
while [ "$SECONDS" -lt "$2" ]; do answers && exit 0; sleep 0.2; done
printf '%s\n' "${said:-it was started and does not answer}" >&2
exit 1
"""


@dataclass(frozen=True)
class StartEngine(Action):
    """Start Docker, and wait until it answers."""

    kind: ClassVar[str] = "engine"


@dataclass(frozen=True)
class RestartEngine(Action):
    """Stop Docker with all its containers, start it, and wait until it answers."""

    kind: ClassVar[str] = "engine-restart"


def held_ports(climbs: Sequence[Climb]) -> tuple[int, ...]:
    """Ports for want of which something did not start, though the engine holds them for no container."""
    steps = [step for each in climbs if each.run is not None for step in each.run.steps if step.diagnosis is not None]
    found = [step.diagnosis.stale_port for step in steps if step.diagnosis and step.outcome is Outcome.FAILED]
    return tuple(dict.fromkeys(port for port in found if port is not None))


def start_engine(link: Link, story: Story) -> Climb:
    """Start the engine under the lease; unchanged when it answers after all."""
    return _engine(link, story, StartEngine(), "start", "start the Docker engine")


def restart_engine(link: Link, story: Story) -> Climb:
    """Restart the engine under the lease: it forgets the ports that it holds for nobody."""
    return _engine(link, story, RestartEngine(), "restart", "restart the Docker engine")


def _engine(link: Link, story: Story, action: Action, verb: str, title: str) -> Climb:
    telling = story.told(action.kind, title)
    socket = link.call.droplet.socket or ""

    def do(batch: Batch) -> None:
        answer = batch.change(Script(_ENGINE, (socket, f"{_ENGINE_BOUND:.0f}", verb)), timeout=_ENGINE_BOUND + 90)
        (step,) = batch.steps
        if answer.code != 0:
            raise StepFailed(
                f"the Docker engine on {link.call.droplet.name} does not start",
                why=answer.error_text.splitlines()[-1] if answer.error_text else f"exit status {answer.code}",
                next="on the droplet: journalctl -u docker -n 50",
                code="engine-down",
            )
        already = "@@already" in answer.text
        batch.done(step, Outcome.UNCHANGED if already else Outcome.CHANGED, "it answers")

    steps = (Step("engine", title, action, destructive=verb == "restart"),)
    try:
        call = link.fresh(story.runs, telling.title)
        run = _patiently(
            link, story, lambda: carry_out(call, Plan("recover", steps), {action.kind: Handler(do)}, changes=True)
        )
    except OpsError as error:
        return telling.failed(error)
    result = run.steps[0]
    return telling.end(result.outcome, result.detail, run=run, error=result.error)


def restart_failed(link: Link, story: Story, reading: Reading, names: Sequence[str], title: str) -> Climb:
    """Stop what runs and does not answer, start it and what is down, and wait for their gates."""
    telling = story.told("service", title)

    def job() -> DropletResult[Changed]:
        call = link.fresh(story.runs, telling.title)
        facts = call.facts()
        stack = merged(call, facts)
        down = [name for name in names if name in stack.services]
        options = Options(only=tuple(down), ignore_memory=story.wishes.ignore_memory)
        planned = plan_mend(
            facts,
            stack,
            call.droplet,
            options,
            keep=reading.up(),
            find_sql=lambda name: find_sql(stack, name),
        )
        return execute(call, planned, facts, stack)

    return _done(link, story, telling, job)


def fall_back(link: Link, story: Story, reading: Reading) -> tuple[Climb, ...]:
    """Stop every service that is not of the fallback set, then bring that set up."""
    assert reading.facts is not None
    keep = set(reading.required)
    up = [each.service for each in reading.facts.containers if each.status in ("running", "restarting", "paused")]
    others = [name for name in reading.stack.services if name in up and name not in keep]
    climbs: list[Climb] = []
    if others:
        telling = story.told("fallback", f"stop what is not of the fallback set ({', '.join(reading.required)})")

        def job() -> DropletResult[Changed]:
            return stop(link.fresh(story.runs, telling.title), others)

        climbs.append(_done(link, story, telling, job))
        story.stopped += others
    climbs.append(bring_up(link, story, reading.required, "bring up the fallback set"))
    return tuple(climbs)


def bring_up(link: Link, story: Story, names: Sequence[str], title: str, facts: DropletFacts | None = None) -> Climb:
    """Start services in their phases, each behind its gates; none named: all phases. `facts` were read just now."""
    telling = story.told("start", title)
    known = [facts] if facts is not None else []  # for the first attempt only: what is waited for changes them

    def job() -> DropletResult[Changed]:
        call = link.fresh(story.runs, telling.title)
        if known:
            call = replace(call, facts=known.pop)
        options = Options(only=tuple(names), ignore_memory=story.wishes.ignore_memory)
        return startup(call, options)

    return _done(link, story, telling, job)


def plan_mend(
    facts: DropletFacts,
    stack: Stack,
    droplet: Droplet,
    options: Options,
    *,
    keep: Sequence[str] = (),
    find_sql: FindSql = lambda _: None,
) -> Planned:
    """The steps of a startup of services of which those that run were stopped first; `keep` is up already. Pure."""
    names = [name for name in options.only if name not in keep]
    stopping = (
        [step for step in plan_stop(facts, stack, names).plan.steps if step.action.kind == "stop"] if names else []
    )
    ids = {found.id for name in names if (found := facts.of(name))}
    down = tuple(
        replace(each, status="exited", exit_code=1, health="") if each.id in ids else each for each in facts.containers
    )
    ordered = tuple(sorted(names, key=lambda name: phase_of(stack.services[name])))
    up = plan(
        replace(facts, containers=down),
        stack,
        droplet,
        replace(options, only=ordered),
        command="recover",
        find_sql=find_sql,
    )
    first = tuple(step.id for step in stopping)
    steps = [step if step.needs else replace(step, needs=first) for step in up.plan.steps]
    return Planned(Plan("recover", (*stopping, *steps)), up.notes)


def _patiently(link: Link, story: Story, attempt: Callable[[], T]) -> T:
    """Do it once nobody holds the lease: a boot replay that has begun is followed, never raced."""
    patience = Patience(story.patience, story.means.droplet.name, story.means.state_dir, story.means.reporter)
    return patience.over(attempt, link.shell, cancel=story.means.cancel)


def _done(link: Link, story: Story, telling: Telling, job: Callable[[], DropletResult[Changed]]) -> Climb:
    """Do a job as a step of the ladder, and keep how it ended."""
    try:
        result = _patiently(link, story, job)
    except OpsError as error:
        return telling.failed(error)
    run = result.result.run if result.result else None
    if result.exit_code is not ExitCode.DONE:
        if run is not None and run.interrupted is not None:
            story.means.cancel.check(telling.title)
        what = result.error.what if result.error else "failed"
        return telling.end(Outcome.FAILED, what, run=run, error=result.error)
    services = result.result.services if result.result else ()
    changed = [each.service for each in services if each.outcome is Outcome.CHANGED]
    outcome = Outcome.CHANGED if changed else Outcome.UNCHANGED
    return telling.end(outcome, ", ".join(changed) or "everything was so already", run=run)
