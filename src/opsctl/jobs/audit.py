"""What was done to a droplet: its own audit, and what was done from here while it was away."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from opsctl.jobs.lease import holding
from opsctl.model.audit import AuditReport, AuditRun, JournalStep
from opsctl.model.cancel import Cancel
from opsctl.model.errors import OpsError, StepFailed, UsageError
from opsctl.model.ports import Shell
from opsctl.model.result import DropletResult
from opsctl.model.units import parse_duration
from opsctl.spine import local_audit, records
from opsctl.spine.journal import bash_said

_TIMEOUT = 20.0  # s
_LINES = 20_000  # of the audit that are looked at; a line is about 300 bytes
_OPEN = ("abandoned", "running")  # nobody has said how it ended
_RUN_ID = re.compile(r"[A-Za-z0-9.-]+")


@dataclass(frozen=True)
class Wanted:
    """Which runs: since a time (UTC, as the audit writes it), the last so many (0: all), or one and its steps."""

    since: str = ""
    limit: int = 0
    run: str = ""


def since(text: str, *, now: datetime | None = None) -> str:
    """`2d`, `90m`, `2026-11-20` or `2026-11-20T18:00` as the audit writes times. Raises UsageError."""
    try:
        moment = (now or datetime.now(UTC)) - timedelta(seconds=parse_duration(text))
    except ValueError:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise UsageError(
                f"--since {text!r} is neither a duration nor a time",
                next="opsctl audit --since 2d   (or 2026-11-20T18:00, in UTC)",
            ) from None
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def audit(shell: Shell, droplet: str, wanted: Wanted, *, state_dir: str, cancel: Cancel) -> DropletResult[AuditReport]:
    """The runs on a droplet. Where it cannot be read, those that were done from here, and the error.

    Raises UsageError for a run that is nowhere.
    """
    here = records.runs(local_audit.lines(droplet), where="here")
    try:
        there = _there(shell, state_dir, cancel)
    except OpsError as error:
        if error.exit_code == 130:
            raise
        return DropletResult(droplet, chosen(here, wanted), error.info, error.exit_code)
    report = chosen(merged(there, here), wanted)
    if not wanted.run:
        return DropletResult(droplet, report)
    if not report.runs:
        raise UsageError(
            f"{droplet} has no run {wanted.run}",
            why=f"its audit has {len(there)} runs, and this machine's {len(here)} for it",
            next="opsctl audit",
        )
    steps = journal(shell, state_dir, report.runs[-1].run, cancel=cancel)
    return DropletResult(droplet, replace(report, steps=steps))


def merged(there: list[AuditRun], here: list[AuditRun]) -> list[AuditRun]:
    """Each run once: whoever cut the droplet's power wrote its end here, where the droplet only has the begin. Pure."""
    ended = {each.run for each in here if each.outcome not in _OPEN}
    begun = {each.run for each in there}
    return [
        *(each for each in there if each.run not in ended),
        *(each for each in here if each.run in ended or each.run not in begun),
    ]


def chosen(found: list[AuditRun], wanted: Wanted) -> AuditReport:
    """What was asked for of these, the oldest first. Pure."""
    ordered = sorted(found, key=lambda each: each.at)
    if wanted.run:
        ordered = [each for each in ordered if each.run.startswith(wanted.run)]
    young = [each for each in ordered if each.at >= wanted.since]
    kept = young[-wanted.limit :] if wanted.limit else young
    return AuditReport(tuple(kept), more=len(young) - len(kept), since=wanted.since, before=len(ordered) - len(young))


def journal(shell: Shell, state_dir: str, run: str, *, cancel: Cancel) -> tuple[JournalStep, ...]:
    """The steps of one run; none where it wrote no journal."""
    if not _RUN_ID.fullmatch(run):
        return ()
    answer = shell.run(records.read_journal(state_dir, run), cancel=cancel, timeout=_TIMEOUT)
    return records.steps(answer.text.splitlines())[1]


def _there(shell: Shell, state_dir: str, cancel: Cancel) -> list[AuditRun]:
    # Who holds a lease is asked first: a run that ends in between has its end in the audit then.
    alive = holding(shell, state_dir, cancel=cancel)
    answer = shell.run(records.read(state_dir, _LINES), cancel=cancel, timeout=_TIMEOUT)
    if answer.code != 0:
        raise StepFailed(
            "the droplet's audit cannot be read",
            why=bash_said(answer.error_text) or f"exit status {answer.code}",
            next=f"on the droplet: ls -l {state_dir}/audit.jsonl",
            code="audit-unreadable",
        )
    return records.runs(answer.text.splitlines(), holding=alive)
