"""A droplet as a playbook's step sees it, and what a job gives back to the playbook."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from opsctl.jobs.call import Call
from opsctl.jobs.recover_link import Means
from opsctl.model.cancel import Cancel
from opsctl.model.cloud import Cloud
from opsctl.model.deploy import Deployer
from opsctl.model.engine import StackFacts
from opsctl.model.errors import ErrorInfo, ExitCode, Interrupted
from opsctl.model.events import Outcome
from opsctl.model.measures import Gauges
from opsctl.model.memory_facts import MemoryReader
from opsctl.model.operate import DropletFacts, Operator
from opsctl.model.playbook import Check, JobSpec
from opsctl.model.ports import Host, Shell
from opsctl.model.probing import Evidence
from opsctl.model.result import DropletResult
from opsctl.model.run import Changed
from opsctl.model.secret import Secret
from opsctl.model.stack import Droplet, Stack
from opsctl.model.stackfile_merge import merge
from opsctl.model.why import WhyReader

T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """One droplet: its connection, and how a call on it is made. Built where adapters are built."""

    droplet: Droplet
    stack: Stack
    host: Host
    reads: Shell
    engine: Operator
    memory: MemoryReader
    why: WhyReader
    deployer: Deployer
    evidence: Evidence
    gauges: Gauges
    knock: Callable[[Cancel], bool]
    reveal: Callable[[str], Secret]  # the secret in a variable of the environment; raises ConfigError without
    cloud: Callable[[], Cloud]
    cancel: Cancel
    make_call: Callable[[str, str, bool], Call]  # run id, the command that goes on with it, dry run
    rescue: Callable[[str, str, bool], Means]  # what `recover` works with: run id, command, dry run
    patiently: Callable[[Callable[[], Any]], Any]  # with --wait: again as soon as a held lease is free
    command: Callable[[Sequence[str], Cancel], tuple[ExitCode, Mapping[str, Any]]]  # runs opsctl; its document

    def facts(self) -> DropletFacts:
        """What is there now. Raises OpsError."""
        return self.engine.facts(cancel=self.cancel)

    def merged(self, facts: StackFacts) -> Stack:
        """The stack with what compose says. Raises ConfigError."""
        file = facts.compose_files[0] if facts.compose_files else "compose"
        return merge(self.stack, facts.compose, compose_file=file)

    def running(self) -> tuple[str, ...]:
        """The stack's services that run now. Raises OpsError."""
        facts = self.facts()
        names = sorted({each.service for each in facts.containers if each.service and each.status == "running"})
        return tuple(name for name in names if facts.of(name) is not None)


@dataclass(frozen=True)
class Done:
    """What a job did, or with a dry run would do (`plan`)."""

    outcome: Outcome
    detail: str = ""
    error: ErrorInfo | None = None
    exit_code: ExitCode = ExitCode.DONE
    plan: tuple[str, ...] = ()

    @property
    def interrupted(self) -> bool:
        """Whether a signal cut it short."""
        return self.error is not None and self.error.code == Interrupted.code


@dataclass(frozen=True)
class Order:
    """One call of a job: on which droplet, with what, in whose name."""

    place: Place
    arguments: Mapping[str, Any]
    run_id: str
    again: str  # the command that goes on with the playbook
    dry_run: bool

    @property
    def call(self) -> Call:
        """A call as every changing command has one."""
        return self.place.make_call(self.run_id, self.again, self.dry_run)

    def get(self, name: str, default: Any = None) -> Any:
        """An argument, or what holds without it."""
        return self.arguments.get(name, default)


Perform = Callable[[Order], Done]


@dataclass(frozen=True)
class Job:
    """A job of the registry: what is known of it, and how it is done."""

    spec: JobSpec
    perform: Perform
    before: Callable[[Place], Mapping[str, str]] | None = None  # what an undo has to know of the state before


Jobs = Mapping[str, Job]


@dataclass(frozen=True)
class Answer:
    """What a check found. `seen` is the state, in words."""

    check: Check
    holds: bool
    seen: str


def from_changed(result: DropletResult[Changed]) -> Done:
    """What a command that starts or stops services did."""
    changed = result.result
    if changed is None:
        return Done(Outcome.FAILED, "", result.error, result.exit_code)
    doing = [step for step in changed.plan["steps"] if step["action"]["kind"] != "keep"]
    if changed.run is None:  # a dry run
        return Done(
            Outcome.CHANGED if doing else Outcome.UNCHANGED,
            f"{len(doing)} steps" if doing else "nothing to do",
            result.error,
            result.exit_code,
            tuple(step["title"] for step in doing),
        )
    names = [each.service for each in changed.services if each.outcome is Outcome.CHANGED]
    if result.exit_code is not ExitCode.DONE:
        return Done(Outcome.FAILED, result.error.what if result.error else "", result.error, result.exit_code)
    moved = any(step.outcome is Outcome.CHANGED for step in changed.run.steps)
    detail = ", ".join(names) if names else "nothing to do" if not doing else ""
    return Done(Outcome.CHANGED if moved else Outcome.UNCHANGED, detail)
