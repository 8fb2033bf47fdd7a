"""A playbook: a runbook as data. What its steps may call is a registry of jobs with typed parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from opsctl.model.units import show_duration, show_size

Kind = Literal["text", "whole", "size", "duration", "switch", "service", "services", "droplet", "texts", "secret"]
KINDS: tuple[Kind, ...] = (
    "text",
    "texts",
    "whole",
    "size",
    "duration",
    "switch",
    "service",
    "services",
    "droplet",
    "secret",
)


@dataclass(frozen=True)
class Parameter:
    """What a job or a probe takes. `choices` are the only texts allowed; sizes are bytes, durations seconds."""

    kind: Kind
    about: str
    required: bool = False
    choices: tuple[str, ...] = ()
    least: int | None = None


@dataclass(frozen=True)
class JobSpec:
    """A job that a step can call. `away`: the droplet may go away and come back, or not answer at all, meanwhile."""

    name: str
    about: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    changes: bool = True
    away: bool = False


@dataclass(frozen=True)
class Variable:
    """A value that a run is given; `default` is None where it must be given. A secret is named, never written."""

    name: str
    kind: Kind
    default: Any = None
    about: str = ""
    choices: tuple[str, ...] = ()
    env: str = ""  # of a secret: the variable of the environment that holds it
    line: int = 0


@dataclass(frozen=True)
class Check:
    """One question with an answer: `kind` is that of playbook_format.CHECKS, or a job that only reads."""

    kind: str
    values: Mapping[str, Any]
    line: int = 0
    negated: bool = False

    def __str__(self) -> str:
        """What has to hold, in words."""
        return f"not so: {self._words}" if self.negated else self._words

    @property
    def _words(self) -> str:
        values = self.values
        match self.kind:
            case "http":
                wanted = f"with {values['status']}" if "status" in values else "with a good status"
                contains = f" and {values['contains']!r}" if "contains" in values else ""
                return f"{values['http']} answers {wanted}{contains}"
            case "service":
                return f"{', '.join(values['service'])}: {values.get('state', 'healthy')}"
            case "sql":
                return f"{values['in']} answers `{values['sql']}`"
            case "command":
                return f"`{' '.join(values['command'])}` succeeds in {values['in']}"
            case "memory":
                during = f" for {show_duration(values['for'])}" if "for" in values else ""
                return f"{show_size(values['memory'])} of memory are available{during}"
            case "job":
                return str(values["job"])
            case "reachable":
                return "the droplet answers"
            case "oom":
                return "nothing was killed for memory"
        return self.kind


@dataclass(frozen=True)
class Invocation:
    """A job with its arguments."""

    job: str
    arguments: Mapping[str, Any]
    line: int = 0

    def __str__(self) -> str:
        """`startup phase=2 skip=a,b`."""
        return " ".join([self.job, *(f"{key}={_word(value)}" for key, value in self.arguments.items())])


@dataclass(frozen=True)
class Late:
    """A value that is only known when a step is undone: which services it started or stopped, what was in force."""

    name: str

    KINDS: ClassVar[Mapping[str, Kind]] = {"started": "services", "stopped": "services", "release": "text"}

    def __str__(self) -> str:
        """As it is written."""
        return f"${{{self.name}}}"


@dataclass(frozen=True)
class Undo:
    """How a step is taken back; `probe` says whether that is so already, and proves it afterwards."""

    call: Invocation
    probe: tuple[Check, ...] = ()


@dataclass(frozen=True)
class PlayStep:
    """One step: a job, a question to a person, or only a look. Seconds for `within`."""

    id: str
    title: str
    line: int
    droplet: str = ""  # "" is the one that the playbook is run on
    needs: tuple[str, ...] = ()
    precondition: tuple[Check, ...] = ()
    otherwise: Literal["stop", "skip"] = "stop"
    call: Invocation | None = None
    approve: str = ""
    probe: tuple[Check, ...] = ()
    always: bool = False  # the job decides what is done already; the probe only proves it afterwards
    undo: Undo | None = None
    may_fail: bool = False  # what comes after it is tried all the same


@dataclass(frozen=True)
class Playbook:
    """A whole playbook with the values of one run."""

    name: str
    file: str
    title: str
    about: str
    may_be_down: bool
    variables: Mapping[str, Variable]
    steps: tuple[PlayStep, ...]
    text: str  # the file as it is
    values: Mapping[str, Any] = field(default_factory=dict)  # of the variables, without secrets
    digest: str = ""

    def step(self, name: str) -> PlayStep:
        """By id. Raises KeyError."""
        return next(step for step in self.steps if step.id == name)

    def before(self, step: PlayStep) -> frozenset[str]:
        """Every step that has to be done before this one, however far back."""
        found: set[str] = set()
        left = list(step.needs)
        while left:
            name = left.pop()
            if name not in found:
                found.add(name)
                left += self.step(name).needs
        return frozenset(found)


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
