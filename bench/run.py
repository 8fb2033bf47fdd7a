"""Measures opsctl beside a floor and today's tools on one sandbox droplet; `nox -s bench` calls it.

The targets are shown with what was reached; the exit code is 1 only when something did not run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import fleet
import machine
import memory
import migrations
import process
import recover
import report
import startup
from droplet import BENCH, Droplet
from rich.console import Console
from series import Section
from shelling import DidNotRun, run

SANDBOX = "bench"
MIGRATIONS = ("migrate-hnsw", "migrate-async", "migrate-minilm", "migrate-qdrant", "migrate-table")
NAMES = (
    "help",
    "startup",
    "all-up",
    "memory",
    "memory-laptop",
    "memory-droplet",
    "memory-scale",
    "recover",
    "fleet",
    *MIGRATIONS,
)
STACK_UP = ("all-up", "memory", "memory-laptop", "memory-droplet")

console = Console(stderr=False)


def progress(text: str) -> None:
    """One line on stderr of what is being done."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def droplet_of(given: Path | None, *, keep: bool) -> Iterator[Droplet]:
    """The droplet of a stack file that is given, or a sandbox of the bench's own, taken away afterwards."""
    if given is not None:
        with Droplet(given) as there:
            yield there
        return
    subprocess.run([startup.OPSCTL, "sandbox", "up", "--name", SANDBOX], check=True, stdout=sys.stderr)
    try:
        said = run([startup.OPSCTL, "sandbox", "status", "--name", SANDBOX, "--json"])
        with Droplet(Path(json.loads(said)["droplets"][0]["result"]["stack_file"])) as there:
            yield there
    finally:
        if not keep:
            subprocess.run([startup.OPSCTL, "sandbox", "down", "--name", SANDBOX], check=False, stdout=sys.stderr)


def sections(there: Droplet, wanted: set[str], rounds: int) -> Iterator[tuple[str, Callable[[], Section]]]:
    """What was asked for, in an order in which each finds the droplet as it needs it."""
    work = startup.prepare(there, progress) if wanted & {"startup", *STACK_UP} else {}
    if "startup" in wanted:
        yield "startup", lambda: startup.from_stopped(there, work, rounds, progress)
    if work:
        startup.shell("floor.sh", there)
    yield from _with_the_stack_up(there, wanted, rounds, work)
    if "memory-scale" in wanted:
        yield "memory-scale", lambda: memory.few_and_many(there, rounds, progress)
    if "recover" in wanted:
        # Last: the droplet boots, and the bench's own connection to it ends with that.
        yield "recover", lambda: recover.without_ssh(there, rounds, progress)


def _with_the_stack_up(
    there: Droplet, wanted: set[str], rounds: int, work: dict[str, startup.Work]
) -> Iterator[tuple[str, Callable[[], Section]]]:
    if "all-up" in wanted:
        yield "all-up", lambda: startup.all_up(there, work, rounds, progress)
    if "memory" in wanted:
        yield "memory", lambda: memory.against_stats(there, rounds, progress)
    if "memory-laptop" in wanted:
        yield "memory-laptop", lambda: process.laptop_memory(there, rounds, progress)
    if "memory-droplet" in wanted:
        yield "memory-droplet", lambda: memory.on_the_droplet(there, rounds, progress)


def arguments() -> argparse.Namespace:
    """What was typed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=NAMES, help="one section; may be repeated")
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="rounds of each contestant (default 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="default: bench/results/<utc>.json")
    parser.add_argument("--stack", type=Path, metavar="FILE", help="use this sandbox instead of one of its own")
    parser.add_argument("--keep", action="store_true", help="leave the bench's own sandbox running")
    return parser.parse_args()


@dataclass
class Log:
    """What has been measured so far, and where it is kept."""

    path: Path
    started: str
    facts: dict[str, object] = field(default_factory=dict)
    done: list[Section] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def keep(self) -> None:
        """Write it all, also when the bench is cut short later."""
        report.keep(self.path, self.started, self.facts, self.done, self.failed)


def measure(named: Iterable[tuple[str, Callable[[], Section]]], log: Log) -> None:
    """Measure each section, show it, and keep what there is so far."""
    for name, work in named:
        before = machine.load()
        try:
            section = replace(work(), load=(before, machine.load()))
        except DidNotRun as reason:
            log.failed[name] = str(reason)
            console.print(f"{name} did not run: {reason}", style="bold red", markup=False)
        else:
            log.done.append(section)
            log.failed.update({f"{name}: {who}": why for who, why in section.failed.items()})
            report.show(section, console)
        log.keep()


def main() -> int:
    """Measure, show, keep."""
    asked = arguments()
    wanted = set(asked.only or NAMES)
    started = f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%SZ}"
    log = Log(asked.json or BENCH / "results" / f"{started}.json", started, {"machine": machine.machine()})
    if "help" in wanted:
        measure([("help", lambda: process.help_time(asked.runs, progress))], log)
    if "fleet" in wanted:
        measure([("fleet", lambda: fleet.side_by_side(asked.runs, progress))], log)
    measure(migrations.sections(asked.runs, progress, wanted), log)
    if wanted - {"help", "fleet", *MIGRATIONS}:
        with droplet_of(asked.stack, keep=asked.keep) as there:
            log.facts["droplet"] = machine.droplet(there)
            try:
                measure(sections(there, wanted, asked.runs), log)
            except DidNotRun as reason:
                log.failed["setting up"] = str(reason)
                console.print(f"setting up did not work: {reason}", style="bold red", markup=False)
                log.keep()
    progress(f"kept in {log.path}")
    return 1 if log.failed else 0


if __name__ == "__main__":
    sys.exit(main())
