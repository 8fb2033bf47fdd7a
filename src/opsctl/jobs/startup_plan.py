"""From facts to a plan: what `startup` would do. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from opsctl.jobs import boot
from opsctl.jobs.startup_actions import (
    AwaitGate,
    Create,
    Keep,
    MemoryGate,
    Remove,
    RunThen,
    Settle,
    Start,
    Stop,
)
from opsctl.jobs.startup_select import (
    COMPLETED,
    Options,
    by_dependency,
    chosen,
    has_gate,
    is_running,
    is_up,
    one_shots,
    phase_of,
    startable,
    to_create,
)
from opsctl.jobs.startup_steps import FindSql, criterion, expected, gate_action, then_action, then_known
from opsctl.model.engine import Container
from opsctl.model.operate import DropletFacts
from opsctl.model.plan import GuardFact, Plan, Step
from opsctl.model.stack import Droplet, Service, Stack


@dataclass(frozen=True)
class Planned:
    """A plan, and what is worth saying about it."""

    plan: Plan
    notes: tuple[str, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether executing it would change the droplet (waiting does not)."""
        return any(step.action.kind not in ("keep", "gate", "settle", "memory") for step in self.plan.steps)


def plan(
    facts: DropletFacts,
    stack: Stack,
    droplet: Droplet,
    options: Options,
    *,
    command: str = "startup",
    find_sql: FindSql = lambda _: None,
) -> Planned:
    """The steps that bring the chosen services up. `stack` is merged with compose already.

    Raises UsageError (unknown name or phase), StepFailed (image missing), ConfigError (SQL file missing).
    """
    return _Planner(facts, stack, droplet, options, find_sql).plan(command)


@dataclass
class _Planner:
    """One plan in the making."""

    facts: DropletFacts
    stack: Stack
    droplet: Droplet
    options: Options
    find_sql: FindSql
    steps: list[Step] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    ends: dict[str, list[str]] = field(default_factory=dict)  # service → the steps after which it is up
    starts: dict[str, str] = field(default_factory=dict)
    creates: dict[str, str] = field(default_factory=dict)  # service → the step that creates it

    def plan(self, command: str) -> Planned:
        services = startable(chosen(self.stack, self.options), self.facts, self.droplet, self.notes)
        self.shots = one_shots(self.facts)
        absent = [service for service in services if self.facts.of(service.name) is None]
        first = min((phase_of(service) for service in absent), default=0)
        # What the first phase lacks is created before it, all the rest while the first phase comes up.
        self._create("create", [service for service in absent if phase_of(service) == first])
        self.hard: list[str] = []  # the steps that must have succeeded before the next phase
        self.soft: list[str] = []  # those that must be over
        for phase in sorted({phase_of(service) for service in services}):
            self._phase(phase, [service for service in services if phase_of(service) == phase])
            if phase == first:
                begun = tuple(name for service, name in self.starts.items() if self.creates.get(service) == "create")
                self._create("create:later", [service for service in absent if phase_of(service) > first], begun)
        self._settle()
        self._boot(services)
        self._notes(services)
        return Planned(Plan(command, tuple(self.steps)), tuple(self.notes))

    # A phase

    def _phase(self, phase: int, services: list[Service]) -> None:
        together = by_dependency([each for each in services if not each.one_by_one], self.facts)
        singly = by_dependency([each for each in services if each.one_by_one], self.facts)
        before, soft = tuple(self.hard), tuple(self.soft)
        fresh = [each for each in together if self._needs_start(each)]
        memory = self._memory(f"phase {phase}", f"memory:{phase}", phase, fresh, before, soft) if fresh else ()
        for service in together:
            self._service(service, memory or before)
        self._close(together)
        self._one_by_one(singly)

    def _one_by_one(self, services: list[Service]) -> None:
        chain: tuple[str, ...] = ()
        for service in services:
            before, soft = tuple(self.hard), tuple(self.soft)
            needs = before
            if self._needs_start(service):
                # The one before must have fitted; whether its gate passed is its own affair if it is optional.
                name = f"memory:{service.name}"
                chain = self._memory(service.name, name, phase_of(service), [service], (*before, *chain), soft)
                needs = chain
            self._service(service, needs)
            self._close([service])

    def _close(self, services: list[Service]) -> None:
        for service in services:
            (self.soft if service.optional else self.hard).extend(self.ends[service.name])

    def _depends(self, name: str) -> dict[str, str]:
        return dict(self.facts.compose[name].depends_on) if name in self.facts.compose else {}

    def _create(self, label: str, services: Sequence[Service], after: tuple[str, ...] = ()) -> None:
        missing = tuple(name for name in to_create(self.facts, services) if name not in self.creates)
        names = tuple(service.name for service in services if service.name in missing)
        if not missing:
            return
        extra = [name for name in missing if name not in names]
        along = f" (and {', '.join(extra)}, on which they depend)" if extra else ""
        guards = (GuardFact("file-hash", "compose", self.facts.file_hash),)
        self.steps.append(
            Step(
                label,
                f"create {', '.join(names)}{along}",
                Create(names, missing, after),
                guards=guards,
                undo=Remove(missing),
            )
        )
        self.creates.update(dict.fromkeys(missing, label))

    def _memory(
        self,
        what: str,
        name: str,
        phase: int,
        services: list[Service],
        needs: tuple[str, ...],
        after: tuple[str, ...],
    ) -> tuple[str, ...]:
        optional = all(each.optional for each in services)
        self.steps.append(
            Step(
                id=name,
                title=f"memory for {what}",
                action=MemoryGate(
                    tuple(expected(each, self.facts) for each in services),
                    self.droplet.reserve,
                    enforce=not self.options.ignore_memory,
                    optional=optional,
                    after=after,
                ),
                service=services[0].name if name != f"memory:{phase}" else "",
                phase=phase,
                needs=tuple(dict.fromkeys(needs)),
            )
        )
        return (name,)

    # A service

    def _needs_start(self, service: Service) -> bool:
        container = self.facts.of(service.name)
        return not self._up(service) and not is_running(container)

    def _up(self, service: Service) -> bool:
        container = self.facts.of(service.name)
        return is_up(container, one_shot=service.name in self.shots, has_gate=has_gate(service))

    def _service(self, service: Service, needs: tuple[str, ...]) -> None:
        container = self.facts.of(service.name)
        if self._up(service):
            ends = [self._keep(service, container)]
        else:
            started = self._start(service, container, needs) if self._needs_start(service) else ()
            ends = [self._gate(service, container, started)]
        self.ends[service.name] = ends + self._thens(service, container, tuple(ends))

    def _keep(self, service: Service, container: Container | None) -> str:
        state = "done" if service.name in self.shots else (container.health or "running") if container else ""
        return self._add(service, "keep", f"{service.name} is {state} already", Keep(service.name, state), ())

    def _start(self, service: Service, container: Container | None, needs: tuple[str, ...]) -> tuple[str, ...]:
        known = container.id if container else ""
        guards = (GuardFact("container-id", service.name, known),) if known else ()
        created = (self.creates[service.name],) if service.name in self.creates else ()
        name = self._add(
            service,
            "start",
            f"start {service.name}",
            Start(service.name, known, service.optional),
            (*needs, *created, *self._waits(service)),
            guards=guards,
            undo=Stop(service.name),
        )
        self.starts[service.name] = name
        return (name,)

    def _waits(self, service: Service) -> list[str]:
        """The steps of this plan that compose's depends_on asks for."""
        waits: list[str] = []
        for name, condition in self._depends(service.name).items():
            if condition in (COMPLETED, "service_healthy"):
                waits += self.ends.get(name, ())
            elif name in self.starts:
                waits.append(self.starts[name])
        return waits

    def _gate(self, service: Service, container: Container | None, needs: tuple[str, ...]) -> str:
        action = gate_action(service, container, self.facts, one_shot=service.name in self.shots)
        return self._add(service, "gate", f"wait until {service.name} {criterion(action)}", action, needs)

    def _thens(self, service: Service, container: Container | None, needs: tuple[str, ...]) -> list[str]:
        names: list[str] = []
        for number, step in enumerate(service.then, start=1):
            action = then_action(service, number, step, self.find_sql, self.stack.path)
            known = then_known(action, container)
            if not self._needs_start(service) and known and known == self.facts.done.get(f"{service.name}.{number}"):
                continue
            title = f"{service.name}: {step.kind} {' '.join(step.words)}"
            names.append(self._add(service, f"then:{number}", title, action, (*needs, *names[-1:])))
        return names

    def _add(
        self,
        service: Service,
        kind: str,
        title: str,
        action: Keep | Start | AwaitGate | RunThen,
        needs: Sequence[str],
        *,
        guards: tuple[GuardFact, ...] = (),
        undo: Stop | None = None,
    ) -> str:
        head, _, number = kind.partition(":")
        name = f"{head}:{service.name}" + (f":{number}" if number else "")
        self.steps.append(
            Step(name, title, action, service.name, phase_of(service), tuple(dict.fromkeys(needs)), guards, undo)
        )
        return name

    # The whole

    def _boot(self, services: Sequence[Service]) -> None:
        """A container that waits for a gate after a boot gets its policy before it is started."""
        names = [service.name for service in services if service.name not in self.shots]
        step = boot.boot_step(self.facts, self.stack, self.droplet, start=names, fresh=tuple(self.creates))
        if step is not None:
            self.steps = boot.weave(self.steps, step, self.creates, self.starts)

    def _settle(self) -> None:
        if self.options.settle > 0 and self.starts:
            seconds = self.options.settle
            action = Settle(seconds, after=tuple(dict.fromkeys(self.soft)))
            self.steps.append(Step("settle", f"watch for {seconds:g} s", action, needs=tuple(dict.fromkeys(self.hard))))

    def _notes(self, services: Sequence[Service]) -> None:
        names = {service.name for service in services}
        self.notes += boot.note(self.facts, self.droplet)
        for name in sorted(self.facts.drift & names):
            self.notes.append(f"{name} differs from the compose file: run opsctl deploy")
        for service in services:
            away = [each for each in self._depends(service.name) if each not in names]
            down = [each for each in away if not is_running(self.facts.of(each))]
            if down and service.name in self.starts:
                self.notes.append(f"{service.name} depends on {', '.join(down)}, not running and not asked for")
