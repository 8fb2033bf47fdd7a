"""Asks the probes of the stack file, once or until they pass."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from time import monotonic

from opsctl.jobs.validate_store import ask_store
from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError, DeadlineExceeded, OpsError, UnreachableError, UsageError
from opsctl.model.measures import Gauges
from opsctl.model.ports import Host, Script
from opsctl.model.probing import Evidence, ProbeResult, Samples, Validation
from opsctl.model.secret import Secret
from opsctl.model.stack import Probe, Stack
from opsctl.model.units import show_duration

_AGAIN = 1.0  # s between two rounds
_TICK = 1.0  # s; a server says its time in whole seconds, and what came before the question must not count


@dataclass(frozen=True)
class Terms:
    """How a validation is held. `within` in seconds; `fresh`: only what is newer than this call counts."""

    within: float = 0.0
    fresh: bool = False


def chosen(stack: Stack, names: Sequence[str]) -> tuple[Probe, ...]:
    """The probes of that name, or all. Raises UsageError, ConfigError where the stack file has none at all."""
    if not stack.probes:
        raise ConfigError(
            "the stack file has no probes",
            why="`probes:` names what to ask, and what passes",
            next="opsctl config show   # docs/observability.md has examples",
            path=stack.path,
        )
    unknown = [name for name in names if name not in stack.probes]
    if unknown:
        raise UsageError(
            f"the stack has no probe {', '.join(unknown)}",
            why=f"it has {', '.join(stack.probes)}",
            next=f"opsctl validate {next(iter(stack.probes))}",
        )
    return tuple(stack.probes[name] for name in dict.fromkeys(names or stack.probes))


def validate(
    host: Host, evidence: Evidence, gauges: Gauges, probes: Sequence[Probe], terms: Terms, *, cancel: Cancel
) -> Validation:
    """Ask side by side; what does not pass is asked again until `within` is over.

    A probe that cannot be asked has not passed, and says why. Raises Interrupted.
    """
    began = monotonic()
    passed: dict[str, ProbeResult] = {}
    # What counts as new is said by each server's own clock: the first answer tells it.
    since: dict[str, float] = {}
    found: dict[str, ProbeResult] = {}
    while True:
        left = [each for each in probes if each.name not in passed]
        with ThreadPoolExecutor(max_workers=8, thread_name_prefix="probe") as pool:
            for result in pool.map(lambda each: _one(host, evidence, gauges, each, terms, since, cancel), left):
                found[result.name] = replace(result, seconds=round(monotonic() - began, 3))
                if result.passed:
                    passed[result.name] = found[result.name]
        if len(passed) == len(probes) or monotonic() - began >= terms.within:
            return Validation(tuple(found[each.name] for each in probes))
        cancel.wait(_AGAIN)
        cancel.check("probes to pass")


def _one(
    host: Host,
    evidence: Evidence,
    gauges: Gauges,
    probe: Probe,
    terms: Terms,
    since: dict[str, float],
    cancel: Cancel,
) -> ProbeResult:
    try:
        match probe.kind:
            case "http":
                return _http(host, evidence, probe, cancel)
            case "command":
                return _command(host, probe, cancel)
            case "metrics":
                return _metrics(evidence, probe, terms, since, cancel)
            case "traces":
                return _traces(evidence, probe, terms, since, cancel)
            case "store":
                return ask_store(gauges, probe, cancel)
    except (UnreachableError, ConfigError, DeadlineExceeded) as error:
        cancel.check(f"probe {probe.name}")
        return _not(probe, f"{error.info.what}: {error.info.why}" if error.info.why else error.info.what)
    except OpsError as error:
        return _not(probe, f"{error.info.what}: {error.info.why}" if error.info.why else error.info.what)


def _http(host: Host, evidence: Evidence, probe: Probe, cancel: Cancel) -> ProbeResult:
    asked = probe.text("http")
    if asked.startswith(("http://", "https://")):
        status = evidence.http(asked, cancel=cancel, timeout=probe.within)
    else:
        port, _, path = asked.lstrip(":").partition("/")
        with host.forward("127.0.0.1", int(port or 80)) as way:
            url = f"http://{way.host}:{way.port}/{path}"
            status = evidence.http(url, cancel=cancel, timeout=probe.within)
    wanted = f"{probe.status}" if probe.status else "2xx"
    good = status == probe.status if probe.status else 200 <= status < 300
    return ProbeResult(probe.name, "http", good, f"HTTP {status}{'' if good else f', not {wanted}'}", 0.0)


def _command(host: Host, probe: Probe, cancel: Cancel) -> ProbeResult:
    done = host.run(Script.of(*probe.command), cancel=cancel, timeout=probe.within)
    lines = (done.text.strip() or done.error_text).splitlines()
    said = f"exit {done.code}{f': {lines[-1][:200]}' if lines else ''}"
    return ProbeResult(probe.name, "command", done.code == 0, said, 0.0)


def _metrics(evidence: Evidence, probe: Probe, terms: Terms, since: dict[str, float], cancel: Cancel) -> ProbeResult:
    over = max(probe.over, probe.newer) if probe.gap else probe.newer
    samples = evidence.samples(
        probe.text("url"),
        probe.text("metrics"),
        over,
        user=probe.text("user"),
        token=Secret(probe.text("token")),
        cancel=cancel,
        timeout=probe.within,
    )
    return judge(probe, samples, since.setdefault(probe.name, samples.now + _TICK) if terms.fresh else None)


def judge(probe: Probe, samples: Samples, since: float | None) -> ProbeResult:
    """Whether every series is alive: a sample that is new enough (after `since`, where given), and no gap. Pure."""
    alive = [each for each in samples.series if each.stamps]
    if not alive:
        return _not(probe, f"no sample in {show_duration(probe.newer)}")
    # The series that was silent longest decides, and names itself.
    last = min(alive, key=lambda each: each.stamps[-1])
    age = max(0.0, samples.now - last.stamps[-1])
    gap, where = max(
        ((b - a, each) for each in alive for a, b in pairwise(each.stamps)),
        key=lambda pair: pair[0],
        default=(0.0, last),
    )
    gap = max(gap, age)
    passed, said = True, f"{len(alive)} series, the newest sample {show_duration(age)} old"
    if age > probe.newer:
        passed, said = False, f"{_label(last.labels)} has no sample since {show_duration(age)}"
    elif since is not None and last.stamps[-1] <= since:
        passed, said = (
            False,
            f"nothing has arrived since this was asked; {_label(last.labels)} is {show_duration(age)} old",
        )
    elif probe.gap is not None and gap > probe.gap:
        passed, said = False, f"a gap of {show_duration(gap)} in {_label(where.labels)}"
    elif probe.gap is not None:
        said += f", no gap over {show_duration(gap)}"
    return ProbeResult(probe.name, "metrics", passed, said, 0.0, round(age, 3), round(gap, 3))


def _traces(evidence: Evidence, probe: Probe, terms: Terms, since: dict[str, float], cancel: Cancel) -> ProbeResult:
    runs = evidence.newest_run(
        probe.text("url"),
        probe.text("traces"),
        token=Secret(probe.text("token")),
        cancel=cancel,
        timeout=probe.within,
    )
    if runs.newest is None:
        return _not(probe, "the project has no run")
    begun = since.setdefault(probe.name, runs.now + _TICK)
    age = max(0.0, runs.now - runs.newest)
    if age > probe.newer:
        return replace(_not(probe, f"the newest run, {runs.name}, is {show_duration(age)} old"), age=round(age, 3))
    if terms.fresh and runs.newest <= begun:
        said = f"no run has arrived since this was asked; the newest, {runs.name}, is {show_duration(age)} old"
        return replace(_not(probe, said), age=round(age, 3))
    return ProbeResult(probe.name, "traces", True, f"{runs.name}, {show_duration(age)} old", 0.0, round(age, 3))


def _not(probe: Probe, said: str) -> ProbeResult:
    return ProbeResult(probe.name, probe.kind, False, said, 0.0)


def _label(labels: object) -> str:
    pairs = dict(labels) if isinstance(labels, dict) else {}
    name = pairs.pop("__name__", "")
    return f"{name}{{{', '.join(f'{key}={value}' for key, value in pairs.items())}}}"
