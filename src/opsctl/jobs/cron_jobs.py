"""The jobs that can run on a droplet by themselves, and the files that make them run. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from opsctl.jobs.host_facts import CONFIG, FOLDER, REPLAY, UNITS
from opsctl.model.cron import CronJob
from opsctl.model.errors import UsageError

RUNNER = f"{FOLDER}/cron-run"
CRON_FILE = "/etc/cron.d/opsctl"
TOKEN_FILE = f"{FOLDER}/cloud-token"
LOGS = "/var/lib/opsctl/cron"
_STACK = ("--stack", CONFIG)

JOBS = {
    job.name: job
    for job in (
        CronJob(
            "memory", "Keep what each service uses, for opsctl memory history.", ("memory", "record"), 300, "", 60, 20
        ),
        CronJob("heal", "Start again what crashed or is unhealthy.", ("heal",), 120, "", 600, 10),
        CronJob("watch", "Look whether all is well, and tell when that changes.", ("alert", "check"), 60, "", 55, 0),
        CronJob(
            "snapshot",
            "Copy the droplet and its volumes through the provider; copies older than 7 days go.",
            ("droplet", "snapshot", "--keep", "7d", "--yes"),
            0,
            "03:17",
            3600,
            900,
        ),
    )
}
DEFAULT = ("memory", "heal", "watch")


def chosen(names: Sequence[str], *, otherwise: Sequence[str] = DEFAULT) -> tuple[CronJob, ...]:
    """The jobs of these names, `otherwise` for none. Raises UsageError for a name that is none."""
    for name in names:
        if name not in JOBS:
            raise UsageError(
                f"there is no job {name!r}",
                why=f"there are {', '.join(JOBS)}",
                next="opsctl cron list",
            )
    return tuple(JOBS[name] for name in dict.fromkeys(names or otherwise))


def words(job: CronJob, droplet: str) -> tuple[str, ...]:
    """The whole command after `opsctl`; deleting old snapshots wants the droplet's name."""
    confirm = ("--confirm", droplet) if job.name == "snapshot" else ()
    return (*job.words, *confirm, *_STACK)


def runner_text() -> str:
    """The script that runs one job."""
    return (Path(__file__).with_name("droplet") / "cron-run.sh").read_text(encoding="utf-8")


def argv(job: CronJob, droplet: str, *, jitter: int) -> tuple[str, ...]:
    """The script's arguments; every word is one without spaces."""
    return (RUNNER, job.name, str(job.deadline), str(jitter), *words(job, droplet))


def unit_files(job: CronJob, droplet: str) -> dict[str, str]:
    """Path → text of a job's systemd units."""
    head = "# Put here by `opsctl cron install`; `opsctl cron remove` takes it away.\n"
    when = f"OnCalendar=*-*-* {job.at}:00\nPersistent=true\n" if job.at else _every(job.every)
    timer = (
        f"{head}[Unit]\nDescription=opsctl: {job.help}\n\n[Timer]\n{when}"
        f"RandomizedDelaySec={job.jitter}\nAccuracySec=1s\n\n[Install]\nWantedBy=timers.target\n"
    )
    # After a boot all would begin together with the replay, and be slower than their bounds. Only what tells somebody
    # does not wait: a replay that stands still is worth telling.
    after = "docker.service" if job.name == "watch" else f"docker.service {REPLAY}"
    service = (
        f"{head}[Unit]\nDescription=opsctl: {job.help}\nAfter={after}\n\n[Service]\nType=oneshot\n"
        f"ExecStart={' '.join(argv(job, droplet, jitter=0))}\nTimeoutStartSec={job.deadline + 60}\nNice=5\n"
        "MemoryAccounting=yes\n"
    )
    return {f"{UNITS}/{unit(job, 'timer')}": timer, f"{UNITS}/{unit(job, 'service')}": service}


def _every(seconds: int) -> str:
    return f"OnCalendar=*:0/{seconds // 60}\n"


def unit(job: CronJob, kind: str) -> str:
    """The name of a job's timer or service."""
    return f"opsctl-{job.name}.{kind}"


def cron_text(jobs: Iterable[CronJob], droplet: str) -> str:
    """The file of /etc/cron.d. What a job says when it fails goes to cron, and so to root's mail or the log."""
    lines = [
        f"{_times(job)} root {' '.join(argv(job, droplet, jitter=min(job.jitter, 55 if job.every else job.jitter)))}"
        for job in sorted(jobs, key=lambda each: list(JOBS).index(each.name))
    ]
    return "\n".join(
        (
            "# Put here by `opsctl cron install`; `opsctl cron remove` takes it away.",
            "SHELL=/bin/sh",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            *lines,
            "",
        )
    )


def _times(job: CronJob) -> str:
    if job.at:
        hour, minute = job.at.split(":")
        return f"{int(minute)} {int(hour)} * * *"
    minutes = job.every // 60
    return "* * * * *" if minutes == 1 else f"*/{minutes} * * * *"


def in_cron(text: str) -> tuple[str, ...]:
    """The jobs of a file of /etc/cron.d that opsctl wrote."""
    names = []
    for line in text.splitlines():
        after = line.partition(f"{RUNNER} ")[2].split()
        names += [after[0]] if after and after[0] in JOBS else []
    return tuple(names)
