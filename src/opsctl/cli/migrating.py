"""What every migration has in common: its run's folder, its leases, its progress, its way out.

A migration's own module, `cli/migrate_<name>.py`, says what moves and how; the rest is here:

    def redis_to_managed(ctx: typer.Context, from_: FromOption, to: ToOption, shared: Shared) -> None:
        "Copy …"
        def source(stores: Stores) -> Source:
            return redis_source(stores.target(from_, ("redis",), flag="--from", via=shared.from_via), match="*")
        …
        context = shared.context(ctx)
        raise typer.Exit(run_migration(context, "redis-to-managed", source=source, …, options={}, shared=shared))

    def register(group: typer.Typer) -> None:
        group.command("redis-to-managed")(shared_options(redis_to_managed))

`redis_source` is built in `cli/stores.py`. The module's line is in `cli/migrate.py`, its result in `cli/schema.py`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

from opsctl import __version__
from opsctl.cli.context import Context
from opsctl.cli.migrating_options import FromOption, Shared, ToOption, shared_options
from opsctl.cli.output import finish as leave
from opsctl.cli.process import GoingOn, connecting, not_begun
from opsctl.cli.stores import Stores, export_cipher
from opsctl.model.errors import ExitCode, Interrupted, OpsError, UsageError
from opsctl.model.migrate import Limits
from opsctl.model.migrate_shown import Action, Migrated, RunRecord
from opsctl.model.result import CommandResult, DropletResult

if TYPE_CHECKING:
    from opsctl.jobs.migrate import Migration
    from opsctl.model.migrate import Described, Progress, Receipt, Sink, Source, Transform
    from opsctl.spine.run_folder import RunFolder

__all__ = ["After", "FromOption", "Shared", "Stores", "ToOption", "run_migration", "shared_options"]


class _Closes(Protocol):
    def close(self) -> None: ...


C = TypeVar("C", bound=_Closes)

# Builds one side from the stores that the command can reach; `close` is called when the run is over. It should be
# cheap: what takes long (a connection, a model) is loaded at first use.
Opener = Callable[[Stores], C]
# Called after an action that ended well, under the same leases; its texts are shown as notes.
After = Callable[[Stores, Action, "Receipt"], tuple[str, ...]]


@dataclass(frozen=True)
class _Sides:
    """Both sides, opened and asked who they are."""

    source: Source
    transform: Transform
    sink: Sink
    origin: Described
    goal: Described


def run_migration(
    context: Context,
    name: str,
    *,
    source: Opener[Source],
    transform: Opener[Transform],
    sink: Opener[Sink],
    options: Mapping[str, str],
    shared: Shared,
    after: After | None = None,
    memory: int = 300_000_000,
    declaration: Path | None = None,
    suiting: Limits | None = None,
) -> ExitCode:
    """Run a migration, or what `migrate resume|finish|rollback|replay` wants of a past run of it.

    `options` is everything that shapes the items, secret-free: it is shown, and runs that differ in it share no
    ledger. `memory`, in bytes, is what it takes at most: its limit on a droplet, with --on. `declaration` is what
    --collections named: it goes along there. `suiting` are the limits where nobody says others. Raises OpsError;
    Interrupted with the command that goes on.
    """
    limits = shared.limits(suiting or Limits())
    if shared.on or shared.detach:
        from opsctl.cli.migrating_away import send

        return send(context, name, shared, memory, declaration)
    going_on = context.process.going_on
    if going_on is not None:
        shared = replace(shared, yes=going_on.yes, as_json=going_on.as_json, dry_run=going_on.dry_run)
        context.yes = going_on.yes
    droplets = [each for each in (shared.from_via, shared.to_via) if each]
    process = context.process
    # For a run of before, whoever called this has said how to go on.
    early = nullcontext() if going_on else not_begun(process, why="nothing was begun", next=context.command_line)
    connecting(process, "both stores")
    with early, Stores(context, stack=shared.stack, droplets=droplets) as stores, ExitStack() as opened:
        first = source(stores)
        cipher = export_cipher(stores.targets.get("--from"))
        second, third = transform(stores), sink(stores)
        for each in (first, second, third):
            opened.callback(each.close)
        sides = _Sides(first, second, third, first.describe(context.cancel), third.describe(context.cancel))

        work = context.cancel.child()

        def build(run_id: str, folder: Path, report: Callable[[Progress], None]) -> Migration:
            from opsctl.jobs.migrate import Migration
            from opsctl.spine.run_folder import ledger

            book = ledger(name, sides.origin.identity, sides.goal.identity, options)
            return Migration(
                name, run_id, first, second, third, folder, book, limits, work, report, dict(options), cipher
            )

        run = _Run(context, name, shared, stores, sides, build, after)
        if going_on is not None and going_on.dry_run:
            return run.foresee(going_on)
        return run.dry() if shared.dry_run else run.act(going_on or GoingOn(given_id() or context.run_id, "run"))


@dataclass(frozen=True)
class _Run:
    """One call on both opened sides."""

    context: Context
    name: str
    shared: Shared
    stores: Stores
    sides: _Sides
    build: Callable[[str, Path, Callable[[Progress], None]], Migration]
    after: After | None

    def dry(self) -> ExitCode:
        """Show what would be done. Leaves nothing behind, here or there."""
        from opsctl.jobs.migrate import dry_run

        folder = Path(tempfile.mkdtemp(prefix="opsctl-dry-run-"))
        try:
            preview = dry_run(self.build(self.context.run_id, folder, lambda _: None))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return self._leave(Migrated(self.name, "run", None, None, *self._shown, preview=preview))

    def foresee(self, going_on: GoingOn) -> ExitCode:
        """Count what `finish` or `rollback` would do. Needs no lease: it reads what is committed."""
        from opsctl.jobs.migrate import foresee
        from opsctl.spine.run_folder import RunFolder

        action, folder = cast("Action", going_on.action), RunFolder.of(going_on.run_id)
        found = foresee(self.build(going_on.run_id, folder.path, lambda _: None), action)
        words = ("opsctl migrate", action, going_on.run_id)
        done = Migrated(self.name, action, going_on.run_id, str(folder.path), *self._shown, foreseen=found)
        return self._leave(replace(done, next=(" ".join(words),)))

    def act(self, going_on: GoingOn) -> ExitCode:
        """Do what is wanted of the run, under its leases, and keep in its folder how it ended."""
        from opsctl.cli.migrating_hold import hold
        from opsctl.jobs.migrate_recover import relearn
        from opsctl.jobs.migration_runs import following
        from opsctl.render.migrate_progress import progress
        from opsctl.spine.run_folder import RunFolder

        action = cast("Action", going_on.action)
        known = RunFolder.of(going_on.run_id)
        self._ask(action, known)
        with progress(action, as_json=self.shared.as_json, redact=self.context.redact) as shown:
            migration = self.build(going_on.run_id, known.path, shown.report)
            run_id, command = going_on.run_id, self.context.command_line
            with hold(self.stores, migration.ledger, migration.cancel, run_id=run_id, command=command):
                relearn(migration.ledger, migration.cipher)
                folder = RunFolder.create(going_on.run_id)
                before = folder.record()
                record = self._record(folder, going_on, migration)
                receipt = self._carried_out(action, migration, folder, record, before)
                notes = self._afterwards(action, receipt, going_on.run_id)
        if notes:
            receipt = replace(receipt, notes=(*receipt.notes, *notes))
            folder.write("receipt.json", receipt)
        done = Migrated(
            self.name,
            action,
            going_on.run_id,
            str(folder.path),
            *self._shown,
            receipt=receipt,
            next=following(going_on.run_id, receipt.outcome, receipt.left, record.argv),
        )
        return self._leave(done)

    @property
    def _sealed(self) -> str:
        """The store whose key encrypts what is exported."""
        read = self.stores.targets.get("--from")
        return read.store if read is not None and read.export_key is not None else ""

    @property
    def _shown(self) -> tuple[str, str]:
        return said(self.sides.origin), said(self.sides.goal)

    def _ask(self, action: Action, known: RunFolder) -> None:
        source, sink = self._shown
        receipt = known.receipt()
        count = f"{receipt.verified_total:,} records, " if receipt else ""
        question = {
            "finish": f"Delete at {source} what is verified in {sink} ({count}only what is unchanged since)?",
            "rollback": f"Restore {source} from the export, and take back what this run wrote to {sink}?",
            "run": f"Delete at {source} whatever has been verified in {sink}?" if self.shared.delete else "",
        }.get(action, "")
        if question:
            self.context.confirm(question)

    def _record(self, folder: RunFolder, going_on: GoingOn, migration: Migration) -> RunRecord:
        """Write down who works on the run now."""
        from opsctl.spine.audit import Actor
        from opsctl.spine.run_folder import this_process

        actor, (pid, born) = Actor.current(), this_process()
        before = folder.record()
        source, sink = self._shown
        record = before or RunRecord(
            run_id=going_on.run_id,
            migration=self.name,
            argv=going_on.argv or self.context.process.argv,
            cwd=str(Path.cwd()),
            stack=self.stores.stack.path or "",
            user=actor.user,
            origin=actor.origin,
            started=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            opsctl=__version__,
        )
        record = replace(
            record,
            argv=going_on.argv or record.argv,
            action=cast("Action", going_on.action),
            pid=pid,
            born=born,
            source=source,
            sink=sink,
            ledger=str(migration.ledger),
            options=dict(migration.options),
            sealed=self._sealed or record.sealed,
            error="",
            code="",
        )
        folder.write("run.json", record)
        folder.control("run")
        return record

    def _carried_out(
        self, action: Action, migration: Migration, folder: RunFolder, record: RunRecord, before: RunRecord | None
    ) -> Receipt:
        from opsctl.jobs import migrate

        try:
            if action == "run":
                receipt = migrate.run(migration, delete=self.shared.delete)
            else:
                receipt = getattr(migrate, action)(migration)
        except OpsError as error:
            if before is not None and isinstance(error, UsageError):
                # What was asked for makes no sense, and nothing was done: the run is what it was.
                folder.write("run.json", replace(before, pid=0))
                raise
            going_on = f"opsctl migrate resume {record.run_id}"
            error.info = replace(error.info, next=error.info.next or going_on)
            told = self.context.redact(error.info.what)
            folder.write("run.json", replace(record, pid=0, error=told, code=error.info.code))
            raise
        folder.write("run.json", replace(record, pid=0))
        return receipt

    def _afterwards(self, action: Action, receipt: Receipt, run_id: str) -> tuple[str, ...]:
        try:
            return self.after(self.stores, action, receipt) if self.after else ()
        except Interrupted as error:
            why, going_on = "the records are through; what comes after them is not", f"opsctl migrate resume {run_id}"
            error.info = replace(error.info, why=error.info.why or why, next=error.info.next or going_on)
            raise

    def _leave(self, done: Migrated) -> ExitCode:
        outcome = done.receipt.outcome if done.receipt else "complete"
        code = {"partial": ExitCode.PARTIAL, "failed": ExitCode.FAILED}.get(outcome, ExitCode.DONE)
        command = self.name if self.context.process.going_on is None else self.context.process.argv[1]

        def render(each: DropletResult[Migrated]) -> None:
            from opsctl.render.migrate import print_migrated

            print_migrated(done, redact=self.context.redact)

        return leave(
            f"migrate.{command}",
            CommandResult((DropletResult("", done, None, code),)),
            as_json=self.shared.as_json,
            render=render,
            run_id=done.run_id,
            redact=self.context.redact,
        )


def said(store: Described) -> str:
    """A store in a few words."""
    return f"{store.product} {store.version} {store.address}".replace("  ", " ").strip()


def given_id() -> str:
    """The id that whoever began this process on a droplet gave its run; "" elsewhere."""
    from opsctl.spine.run_folder import GIVEN

    return os.environ.get(GIVEN, "")
