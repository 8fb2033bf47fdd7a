"""Jobs that a droplet runs by itself: put there, listed, run now, taken away."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from opsctl.jobs import cron_jobs, cron_read
from opsctl.jobs.call import Call, carry_out
from opsctl.jobs.cron_jobs import CRON_FILE, JOBS, LOGS, RUNNER, TOKEN_FILE
from opsctl.jobs.cron_read import CronFacts
from opsctl.jobs.host_actions import DropFiles, handlers, must
from opsctl.jobs.host_facts import FOLDER, UNITS, as_root
from opsctl.model.cancel import Cancel
from opsctl.model.cron import CronChanged, CronJob, CronListed, CronRun
from opsctl.model.errors import ConfigError, ErrorInfo, ExitCode, Interrupted, LeaseHeld, OpsError
from opsctl.model.events import Outcome
from opsctl.model.plan import Action, Plan, Step
from opsctl.model.ports import Shell
from opsctl.model.result import DropletResult
from opsctl.model.run import RunResult
from opsctl.model.secret import Secret
from opsctl.model.stack import Droplet
from opsctl.spine.batch import Batch, Handler

_PUT = r"""
set -e
umask 022
while [ $# -gt 0 ] && [ "$1" != -- ]; do
  mkdir -p -- "${1%/*}"; printf '%s' "$3" >"$1.new"; chmod "$2" "$1.new"; mv -f -- "$1.new" "$1"; shift 3
done
shift
[ $# = 0 ] || { systemctl daemon-reload; systemctl enable --now --quiet "$@"; }
"""
_PUT_KEY = r"""
set -e
umask 077
cat >"$1.new"; mv -f -- "$1.new" "$1"
"""
_TOKEN_NOTE = (
    f"the provider's token is in {TOKEN_FILE} on the droplet, for root alone: let it be one that can do no more than "
    "read droplets and volumes, and create and delete snapshots"
)
_NOW = 'OPSCTL_CRON_NOW=1 exec bash -c "$1" cron-run "${@:2}"'


@dataclass(frozen=True)
class PutJobs(Action):
    """Write what makes jobs run: path → digest. Units of systemd are enabled and started."""

    kind: ClassVar[str] = "put-jobs"
    jobs: tuple[str, ...]
    files: Mapping[str, str]
    timers: tuple[str, ...] = ()
    token: str = ""  # where the provider's token is put, for root alone


def show(shell: Shell, droplet: str, *, cancel: Cancel) -> CronListed:
    """All jobs of a droplet; changes nothing."""
    return cron_read.listed(cron_read.read(shell, cancel=cancel), droplet)


def install(call: Call, names: Sequence[str], token: Callable[[], Secret]) -> DropletResult[CronChanged]:
    """Let these jobs run there; those that do already stay. Raises OpsError where nothing could run them.

    The job snapshot takes the provider's `token` along.
    """
    jobs = cron_jobs.chosen(names)
    facts = cron_read.read(call.host, cancel=call.cancel)
    if not facts.scheduler:
        host = "" if cron_read.has_opsctl(facts) else f"opsctl host install -d {call.droplet.name}   # then "
        also = ", and opsctl is not installed there either" if host else ""
        raise OpsError(
            f"nothing on {call.droplet.name} could run a job",
            why=f"there is neither systemd nor cron (/etc/cron.d){also}",
            next=f"{host or 'opsctl cron run heal   # a job now, or '}apt-get install cron on the droplet",
            code="no-scheduler",
        )
    cron_read.check_installed(facts, call.droplet.name)
    _check_provider(jobs, call.droplet)
    name = _name_there(call.droplet.name)
    texts, timers = wanted(facts, jobs, name)
    changed = {path: text for path, text in texts.items() if _digest(text) != _placed(facts, path)}
    dead = [each for each in timers if not any(u.name == each and u.active == "active" for u in facts.host.units)]
    secret = token() if any(job.name == "snapshot" for job in jobs) else None
    fresh = secret is not None and _digest(f"{secret.reveal()}\n") != _placed(facts, TOKEN_FILE)
    steps = []
    if changed or dead or fresh:
        action = PutJobs(
            tuple(job.name for job in jobs),
            {path: _digest(text) for path, text in changed.items()},
            tuple(timers),
            TOKEN_FILE if fresh else "",
        )
        what = ", ".join(f"{job.name} ({job.when})" for job in jobs)
        steps.append(Step("jobs", f"let {facts.scheduler} run {what}", action))
    notes = [_TOKEN_NOTE] if fresh else []
    notes += [f"{facts.scheduler} does not run there: nothing runs until it does"] if not _runs(facts) else []
    return _change(call, Plan("cron install", tuple(steps)), texts, jobs, notes, secret)


def remove(call: Call, names: Sequence[str]) -> DropletResult[CronChanged]:
    """Let these jobs run no more, all for none; their logs go with them."""
    facts = cron_read.read(call.host, cancel=call.cancel)
    there = tuple(name for name in JOBS if facts.installed(name))
    jobs = tuple(job for job in cron_jobs.chosen(names, otherwise=there or tuple(JOBS)))
    names = [job.name for job in jobs if job.name in there]
    left = [JOBS[name] for name in there if name not in names]
    paths = [path for path in _files_of(names, left) if path in facts.host.files]
    if "snapshot" in names and TOKEN_FILE in facts.host.files:
        paths.append(TOKEN_FILE)
    texts: dict[str, str] = {}
    steps = []
    if set(names) & set(facts.in_file) and (rest := [job for job in left if job.name in facts.in_file]):
        texts[CRON_FILE] = cron_jobs.cron_text(rest, _name_there(call.droplet.name))
        action = PutJobs(tuple(job.name for job in rest), {CRON_FILE: _digest(texts[CRON_FILE])})
        steps.append(Step("jobs", f"leave {', '.join(job.name for job in rest)} in {CRON_FILE}", action))
        paths = [path for path in paths if path != CRON_FILE]
    if paths:
        units = tuple(cron_jobs.unit(JOBS[each], "timer") for each in names if facts.installed(each) == "systemd")
        drop = DropFiles(tuple(paths), units, () if left else (LOGS,), (FOLDER,))
        title = f"remove {', '.join(path.rpartition('/')[2] for path in paths)}"
        steps.append(Step("drop", title, drop, needs=tuple(each.id for each in steps)))
    return _change(call, Plan("cron remove", tuple(steps)), texts, jobs, [])


def run(shell: Shell, droplet: Droplet, name: str, *, cancel: Cancel) -> DropletResult[CronRun]:
    """Run one job now as it would run by itself: with its lock, its deadline, its log. Raises LeaseHeld, OpsError."""
    (job,) = cron_jobs.chosen((name,))
    facts = cron_read.read(shell, cancel=cancel)
    cron_read.check_installed(facts, droplet.name)
    words = cron_jobs.words(job, _name_there(droplet.name))
    arguments = (cron_jobs.runner_text(), job.name, str(job.deadline), "0", *words)
    began = time.monotonic()
    done = shell.run(as_root(_NOW, *arguments), cancel=cancel, timeout=job.deadline + 60)
    output = "\n".join(part for part in (done.text.strip(), done.error_text) if part)
    outcome = {0: "done", 6: "skipped", 124: "deadline", 137: "deadline"}.get(done.code, "failed")
    ran = CronRun(job.name, f"opsctl {' '.join(job.words)}", outcome, time.monotonic() - began, output)
    if done.code == 0:
        return DropletResult(droplet.name, ran)
    if done.code == ExitCode.LEASED:
        raise LeaseHeld(
            f"{name} was skipped: somebody else is at work on {droplet.name}",
            why=(output.splitlines() or [""])[0],
            next="opsctl lease show",
        )
    known = {int(code) for code in ExitCode}
    code = ExitCode(done.code) if done.code in known else ExitCode.FAILED
    error = OpsError(
        f"{name} ended after its {job.deadline} s" if outcome == "deadline" else f"{name} failed on {droplet.name}",
        why=(output.splitlines() or [f"exit status {done.code}"])[0],
        next=f"opsctl {' '.join(job.words)} -d {droplet.name}",
    )
    return DropletResult(droplet.name, ran, error.info, code)


def wanted(facts: CronFacts, jobs: Sequence[CronJob], droplet: str) -> tuple[dict[str, str], list[str]]:
    """Path → text of every file that has to be there, and the timers to be enabled."""
    texts = {RUNNER: cron_jobs.runner_text()}
    if facts.scheduler == "systemd":
        for job in jobs:
            texts |= cron_jobs.unit_files(job, droplet)
        return texts, [cron_jobs.unit(job, "timer") for job in jobs]
    every = {job.name: job for job in (*(JOBS[name] for name in facts.in_file), *jobs)}
    texts[CRON_FILE] = cron_jobs.cron_text(every.values(), droplet)
    return texts, []


def _files_of(names: Sequence[str], left: Sequence[CronJob]) -> list[str]:
    paths = [f"{UNITS}/{cron_jobs.unit(JOBS[name], kind)}" for name in names for kind in ("timer", "service")]
    return [*paths, CRON_FILE] if left else [*paths, CRON_FILE, RUNNER]


def _check_provider(jobs: Sequence[CronJob], droplet: Droplet) -> None:
    if any(job.name == "snapshot" for job in jobs) and "digitalocean" not in droplet.provider:
        raise ConfigError(
            f"the stack file does not say with whom {droplet.name} is rented",
            why="the job snapshot asks the provider",
            next="opsctl droplet list   # the number, for `provider: {digitalocean: NUMBER}` at the droplet",
        )


def _runs(facts: CronFacts) -> bool:
    return facts.scheduler == "systemd" or facts.crond


def _name_there(name: str) -> str:
    """The droplet's name in the stack file that it got: `host install` makes words of addresses."""
    from opsctl.model.stackfile_droplet import name_of

    return name_of(name)


def _placed(facts: CronFacts, path: str) -> str:
    found = facts.host.files.get(path)
    return found.digest if found else ""


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _change(
    call: Call,
    plan: Plan,
    texts: Mapping[str, str],
    jobs: Sequence[CronJob],
    notes: Sequence[str],
    secret: Secret | None = None,
) -> DropletResult[CronChanged]:
    def put(batch: Batch) -> None:
        (step,) = batch.steps
        action = step.action
        assert isinstance(action, PutJobs)
        if action.token and secret is not None:
            script = as_root(_PUT_KEY, action.token, stdin=f"{secret.reveal()}\n".encode())
            must(batch.change(script, timeout=60), f"{action.token} could not be written")
        words = [word for path in action.files for word in (path, "755" if path == RUNNER else "644", texts[path])]
        must(batch.change(as_root(_PUT, *words, "--", *action.timers), timeout=60), "the jobs could not be put there")
        batch.done(step, Outcome.CHANGED, f"{len(action.files)} files")

    done_by = {**handlers(None, None, None), PutJobs.kind: Handler(put)}
    run = None if call.dry_run or not plan.steps else carry_out(call, plan, done_by, changes=True)
    changed = CronChanged(call.dry_run, plan.to_json(), tuple(notes), tuple(job.name for job in jobs), run)
    return DropletResult(call.droplet.name, changed, _error(run, call), run.exit_code if run else ExitCode.DONE)


def _error(run: RunResult | None, call: Call) -> ErrorInfo | None:
    if run is None or run.exit_code is ExitCode.DONE:
        return None
    if run.interrupted is not None:
        return Interrupted(
            "interrupted", signum=run.interrupted, why="what was done stays", next=f"{call.entry.command}   # goes on"
        ).info
    return run.error
