"""What a probe asks of the outside world, and what it found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from opsctl.model.cancel import Cancel
from opsctl.model.secret import Secret


@dataclass(frozen=True)
class Series:
    """One time series: its labels, and when its samples were taken (seconds since 1970, rising)."""

    labels: Mapping[str, str]
    stamps: tuple[float, ...]


@dataclass(frozen=True)
class Samples:
    """What a metrics API has of a selector; `now` is that server's own time (seconds since 1970)."""

    series: tuple[Series, ...]
    now: float


@dataclass(frozen=True)
class Runs:
    """The newest run of a tracing project; `newest` is None where there is none. Seconds since 1970."""

    newest: float | None
    name: str
    now: float


class Evidence(Protocol):
    """The APIs that a probe asks. Each raises UnreachableError, ConfigError (key refused), StepFailed (not understood).

    `timeout` in seconds for a whole answer.
    """

    def http(self, url: str, *, cancel: Cancel, timeout: float) -> int:
        """The status that a GET is answered with; redirects are not followed."""
        ...

    def json(self, url: str, *, token: Secret, cancel: Cancel, timeout: float) -> Any:
        """What a GET is answered with, as JSON; `token` goes with it as a bearer's, unless it is empty."""
        ...

    def samples(
        self, api: str, selector: str, over: float, *, user: str, token: Secret, cancel: Cancel, timeout: float
    ) -> Samples:
        """Every sample of the last `over` seconds, from an API like Prometheus'."""
        ...

    def newest_run(self, api: str, project: str, *, token: Secret, cancel: Cancel, timeout: float) -> Runs:
        """The newest run of a project, from an API like LangSmith's."""
        ...


@dataclass(frozen=True)
class ProbeResult:
    """How one probe fared. `age` and `gap` in seconds, where it is about samples or runs."""

    name: str
    kind: str
    passed: bool
    said: str
    seconds: float
    age: float | None = None
    gap: float | None = None


@dataclass(frozen=True)
class Validation:
    """All probes that were asked, in the order of the stack file."""

    probes: tuple[ProbeResult, ...]

    @property
    def passed(self) -> bool:
        """Whether every one did."""
        return all(each.passed for each in self.probes)


@dataclass(frozen=True)
class Dashboard:
    """One dashboard, and where it was written. `changed` says whether the file was new or another one before."""

    uid: str
    title: str
    folder: str
    path: str
    changed: bool


@dataclass(frozen=True)
class Exported:
    """The dashboards of one Grafana."""

    to: str
    dashboards: tuple[Dashboard, ...]
    dry_run: bool = False
