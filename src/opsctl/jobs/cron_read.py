"""What runs on a droplet by itself, and how it went: one remote call beside the one that finds opsctl there."""

from __future__ import annotations

from dataclasses import dataclass

from opsctl.jobs import cron_jobs
from opsctl.jobs.cron_jobs import JOBS
from opsctl.jobs.doctor_checks import sections
from opsctl.jobs.host_facts import CONFIG, FOLDER, LINK, HostFacts, as_root, look
from opsctl.model.cancel import Cancel
from opsctl.model.cron import CronListed, CronState
from opsctl.model.errors import OpsError
from opsctl.model.ports import Shell

_READ = r"""
folder=$1 file=$2; shift 2
export LC_ALL=C
at() { printf '@@%s\n' "$1"; }
at notes
for each in "$folder"/*.last; do
  [ ! -f "$each" ] || { each=${each##*/}; printf '%s\t' "${each%.last}"; cat "$folder/$each"; }
done
at file; cat "$file" 2>/dev/null
at crond; pgrep -x cron || pgrep -x crond
at timers
[ ! -d /run/systemd/system ] || for each in "$@"; do
  printf '%s %s\n' "$each" "$(systemctl show "opsctl-$each.timer" -p NextElapseUSecRealtime --value 2>/dev/null)"
done
exit 0
"""


@dataclass(frozen=True)
class Note:
    """How the last run of a job ended."""

    stamp: str
    outcome: str
    exit_code: int
    seconds: float
    said: str


@dataclass(frozen=True)
class CronFacts:
    """A droplet as `cron` sees it. `scheduler`: systemd, cron, or "" where nothing would run a job."""

    host: HostFacts
    scheduler: str
    in_file: tuple[str, ...]  # the jobs of the cron file
    crond: bool
    next: dict[str, str]
    notes: dict[str, Note]

    def installed(self, job: str) -> str:
        """What has a job: systemd, cron, or ""."""
        timer = any(each.name == cron_jobs.unit(JOBS[job], "timer") for each in self.host.units)
        return "systemd" if timer else "cron" if job in self.in_file else ""


def read(shell: Shell, *, cancel: Cancel) -> CronFacts:
    """Look; changes nothing."""
    host = look(shell, cancel=cancel)
    script = as_root(_READ, cron_jobs.LOGS, cron_jobs.CRON_FILE, *JOBS)
    found = sections(shell.run(script, cancel=cancel, timeout=30).text)
    return CronFacts(
        host,
        "systemd" if host.systemd else "cron" if host.cron else "",
        cron_jobs.in_cron(found.get("file", "")),
        bool(found.get("crond", "").strip()),
        dict(line.split(" ", 1) for line in found.get("timers", "").splitlines() if " " in line.strip()),
        {name: note for line in found.get("notes", "").splitlines() for name, note in _note(line)},
    )


def _note(line: str) -> list[tuple[str, Note]]:
    words = line.split("\t", 5)
    if len(words) < 5 or not words[3].isdigit():
        return []
    return [(words[0], Note(words[1], words[2], int(words[3]), float(words[4]), words[5] if len(words) > 5 else ""))]


def listed(facts: CronFacts, droplet: str) -> CronListed:
    """Every job as it stands there."""
    timers = {each.name: each.active for each in facts.host.units}
    jobs = []
    for job in JOBS.values():
        how, note = facts.installed(job.name), facts.notes.get(job.name)
        active = timers.get(cron_jobs.unit(job, "timer")) == "active" if how == "systemd" else how != "" and facts.crond
        jobs.append(
            CronState(
                job=job.name,
                help=job.help,
                when=job.when,
                command=" ".join(("opsctl", *job.words)),
                installed=how,
                active=active,
                last=note.stamp if note else "",
                outcome=note.outcome if note else "",
                exit_code=note.exit_code if note else None,
                seconds=note.seconds if note else None,
                said=note.said if note else "",
                next=facts.next.get(job.name, "") if how == "systemd" else "",
            )
        )
    return CronListed(facts.scheduler, facts.host.answers, tuple(jobs), tuple(_words(facts, jobs, droplet)))


def _words(facts: CronFacts, jobs: list[CronState], droplet: str) -> list[str]:
    notes = []
    if not facts.host.installed:
        notes.append(f"opsctl is not on {droplet}: opsctl host install")
    if not facts.scheduler:
        notes.append(f"neither systemd nor cron is on {droplet}: a job runs only when you run it (opsctl cron run)")
    late = [each.job for each in jobs if each.installed and not each.active]
    if late:
        notes.append(f"{', '.join(late)}: installed, but nothing runs it; {facts.scheduler or 'cron'} does not run")
    return notes


def has_opsctl(facts: CronFacts) -> bool:
    """Whether there is an opsctl on the droplet that a job could run."""
    return LINK in facts.host.files and CONFIG in facts.host.files


def check_installed(facts: CronFacts, droplet: str) -> None:
    """Raise OpsError where there is no opsctl on the droplet that a job could run."""
    if not has_opsctl(facts):
        raise OpsError(
            f"opsctl is not installed on {droplet}",
            why=f"a job runs {LINK} with the stack file in {FOLDER}",
            next=f"opsctl host install -d {droplet}",
            code="not-installed",
        )
