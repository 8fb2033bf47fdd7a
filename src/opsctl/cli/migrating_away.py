"""Migrations that run on a droplet: begun from here, watched and steered from anywhere."""

from __future__ import annotations

import importlib.metadata
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from opsctl.cli.context import Context, Session
from opsctl.cli.migrating_options import without
from opsctl.cli.output import finish as leave
from opsctl.cli.process import connecting, not_begun
from opsctl.model.collections import FILE as COLLECTIONS
from opsctl.model.errors import ExitCode, Interrupted, UsageError
from opsctl.model.migrate_shown import RunControlled, RunListing, RunShown
from opsctl.model.result import CommandResult, DropletResult
from opsctl.model.store import StoreKind

if TYPE_CHECKING:
    from opsctl.cli.migrating_options import Shared
    from opsctl.jobs.detached import There
    from opsctl.model.migrate_pruned import Pruned

_WITH_VALUE = ("--on", "--stack", "--collections")
_NAMES_STORE = ("--from", "--to", "--also-to-postgres")
_KINDS = get_args(StoreKind)
_OF_A_RUN = ("attach", "pause", "resume", "finish", "rollback", "replay")
_FLAGS = ("--detach", "--json", "--yes", "-y", "-v", "-vv", "--verbose")


def send(context: Context, name: str, shared: Shared, memory: int, declaration: Path | None = None) -> ExitCode:
    """Begin a migration on a droplet; with --detach leave it there, else watch it until it ends.

    The collections that are declared beside the stack file, or in `declaration`, go along.

    Raises UsageError for options that do not go together, OpsError for a droplet that it does not fit on, StepFailed
    with its last words when it did not begin.
    """
    _check(context, shared)
    _check_stores(context, shared.on)
    if shared.delete:
        context.confirm(f"Delete at the source whatever the run on {shared.on} has verified?")
    from opsctl.jobs import detached
    from opsctl.model.stackfile_droplet import for_droplet, name_of

    droplet = context.stack.droplets[shared.on]
    with context.session(droplet) as session:
        there = _prepared(session, name, memory, say=not shared.as_json)
        run, stack = context.run_id, f"{detached.FOLDER}/{context.run_id}/opsctl.yaml"
        words = [*_words(context.process.argv, shared.on, name_of(shared.on)), "--stack", stack, "--yes"]
        files = for_droplet(context.stack, droplet, os.environ)
        if declaration is not None:
            files = replace(files, files={**files.files, COLLECTIONS: declaration.read_bytes()})
        detached.start(session.host, run, words, memory=memory, files=files, cancel=context.cancel)
        if not shared.as_json:
            from opsctl.render.migrate_runs import print_begun

            print_begun(run, shared.on, unit=detached.unit_of(run) if there.systemd else "", notes=files.notes)
        if not shared.detach:
            return watch(context, session, run, as_json=shared.as_json, name=f"migrate.{name}")
        return _shown(context, session, run, as_json=shared.as_json, name=f"migrate.{name}")


def _check(context: Context, shared: Shared) -> None:
    if not shared.on:
        raise UsageError("--detach: on which droplet?", next=f"{context.command_line} --on NAME")
    if shared.dry_run:
        raise UsageError("a dry run is made from here", next="leave --on out, or --dry-run")
    for flag, via in (("--from-via", shared.from_via), ("--to-via", shared.to_via)):
        if via not in ("", shared.on):
            raise UsageError(
                f"{flag} {via}: a run on {shared.on} does not reach {via}", next=f"{flag} {shared.on}, or without --on"
            )


def _check_stores(context: Context, on: str) -> None:
    """Before anything is carried: a store behind another droplet is left out of the stack file that goes there.

    Raises UsageError.
    """
    from opsctl.model.store_url import example

    argv = context.process.argv
    for flag, name in _named_stores(argv):
        given = context.stack.stores.get(name, {})
        via = given["via"].reveal() if "via" in given else on
        if via == on:
            continue
        kind = next(each for each in _KINDS if each in given)
        here = shlex.join(["opsctl", *without(argv, ("--on",), ("--detach",))])
        raise UsageError(
            f"{flag} {name}: the store is behind {via}, and {on} does not reach {via} through you",
            why=f"stores.{name} has `via: {via}`: that way begins on this machine, and a run with --on works on {on}",
            next=f"{here}   (runs it from here)\n{flag} {example((kind,))}   (or a URL that {on} reaches itself)",
            code="behind-another",
        )


def _named_stores(argv: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What was given with each option that names a store."""
    for word, after in zip(argv, (*argv[1:], ""), strict=True):
        flag, equals, value = word.partition("=")
        if flag in _NAMES_STORE:
            yield flag, value if equals else after


def _words(argv: Sequence[str], on: str, there: str) -> Iterator[str]:
    """What was typed, without what only means something here."""
    for word in without(argv, _WITH_VALUE, _FLAGS):
        yield there if word == on else word


def _prepared(session: Session, name: str, memory: int, *, say: bool) -> There:
    """The droplet with opsctl on it, if there is room for a run. Raises OpsError."""
    from opsctl.cli.migration_kinds import EMBEDDING, ENCRYPTING, MIGRATIONS
    from opsctl.jobs import detached
    from opsctl.jobs.host_facts import look
    from opsctl.jobs.host_install import target_of

    facts = look(session.reads, cancel=session.cancel)
    target = target_of(facts, session.droplet.name)
    # What goes on with an earlier run is the opsctl that is carried now: it needs that one's clients, too.
    wanted = {name, *detached.look(session.reads, "", cancel=session.cancel).migrations}
    packages = dict.fromkeys(package for each in MIGRATIONS if each.name in wanted for package in each.packages)
    more = tuple(each for each in packages if each not in EMBEDDING or _is_here(each))
    if any("export_key" in each for each in session.stack.stores.values()):
        more += ENCRYPTING
    bundle = session.packer_with(more).pack(target, cancel=session.cancel)
    there = detached.look(session.reads, bundle.name, cancel=session.cancel)
    detached.check_memory(there, memory, session.droplet.reserve, session.droplet.name)

    def told(what: str) -> None:
        if say:
            sys.stderr.write(f"opsctl for {session.droplet.name}: {what}\n")

    detached.install(session.host, bundle, target, there, told=told, cancel=session.cancel)
    return there


def _is_here(package: str) -> bool:
    try:
        importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


@contextmanager
def on_droplet(context: Context) -> Iterator[Session]:
    """The one droplet of `-d`."""
    connecting(context.process, context.one().name)
    with context.session(context.one()) as session:
        yield session


def runs(context: Context, run: str | None, *, as_json: bool, name: str) -> ExitCode:
    """`status -d DROPLET`."""
    with on_droplet(context) as session:
        return _shown(context, session, run, as_json=as_json, name=name)


def _asked(session: Session, run: str | None) -> tuple[RunShown, ...]:
    from opsctl.jobs.detached import ask
    from opsctl.spine.run_folder import shown_of

    words = ["migrate", "status", *([run] if run else [])]
    result = ask(session.reads, words, session.droplet.name, cancel=session.cancel)
    return tuple(_with_droplet(shown_of(each), session.droplet.name) for each in result["runs"])


def _with_droplet(run: RunShown, droplet: str) -> RunShown:
    # How it was begun there is not what one would type here.
    own = [each for each in run.next if each.split()[2] in _OF_A_RUN]
    return replace(run, next=tuple(f"{each} -d {droplet}" for each in own))


def _shown(context: Context, session: Session, run: str | None, *, as_json: bool, name: str) -> ExitCode:
    found = _asked(session, run)
    result = CommandResult((DropletResult(session.droplet.name, RunListing(found)),))

    def render(_: DropletResult[RunListing]) -> None:
        from opsctl.render.migrate_runs import print_run, print_runs

        if run is None:
            print_runs(found)
        else:
            print_run(found[0], redact=context.redact)

    return leave(name, result, as_json=as_json, render=render, run_id=run, redact=context.redact)


def watch(context: Context, session: Session, run: str, *, as_json: bool, name: str) -> ExitCode:
    """Follow a run on a droplet until it ends, and exit as it did. Raises Interrupted, and the run goes on."""
    from opsctl.jobs.detached import follow
    from opsctl.jobs.migration_runs import exit_code
    from opsctl.render.migrate_progress import progress

    with _left_alone(context, "attach", run):
        (begun,) = _asked(session, run)
    with progress(begun.action, as_json=as_json, redact=context.redact) as shown:
        try:
            for now in follow(session.reads, begun.run_id, cancel=context.cancel):
                shown.report(now)
        except Interrupted as error:
            raise Interrupted(
                "stopped watching; the run goes on",
                signum=error.exit_code - 128,
                next=f"opsctl migrate attach {begun.run_id} -d {session.droplet.name}",
            ) from None
    (ended,) = _asked(session, begun.run_id)
    code = exit_code(ended)
    result = CommandResult((DropletResult(session.droplet.name, RunListing((ended,)), None, code),))

    def render(_: DropletResult[RunListing]) -> None:
        from opsctl.render.migrate_runs import print_run

        print_run(ended, redact=context.redact)

    return leave(name, result, as_json=as_json, render=render, run_id=ended.run_id, redact=context.redact)


def attach(context: Context, run: str, *, as_json: bool) -> ExitCode:
    """`attach RUN -d DROPLET`."""
    with _left_alone(context, "attach", run), on_droplet(context) as session:
        return watch(context, session, run, as_json=as_json, name="migrate.attach")


def _left_alone(context: Context, action: str, run: str) -> AbstractContextManager[None]:
    """For as long as a run on the droplet was only looked at."""
    name = context.one().name
    why, following = f"whatever runs on {name} is left alone", f"opsctl migrate {action} {run} -d {name}"
    return not_begun(context.process, why=why, next=following)


def found(context: Context, run: str) -> RunShown:
    """`receipt RUN -d DROPLET`: all that is known of it."""
    with on_droplet(context) as session:
        return _asked(session, run)[0]


@contextmanager
def export(context: Context, run: str) -> Iterator[tuple[RunShown, Iterator[str]]]:
    """A run on a droplet, and the lines of its export as they come."""
    from opsctl.jobs.detached import export_lines

    with on_droplet(context) as session:
        (now,) = _asked(session, run)
        yield now, export_lines(session.reads, now.folder, cancel=session.cancel)


def pruned(context: Context, session: Session, keep_days: float, *, dry_run: bool) -> Pruned:
    """`prune -d DROPLET`: what the droplet's own opsctl removes there, or would."""
    from opsctl.jobs.detached import ask
    from opsctl.model.migrate_pruned import Prunable, Pruned
    from opsctl.spine.run_folder import made

    words = ["migrate", "prune", "--keep-days", f"{keep_days:g}", "--dry-run" if dry_run else "--yes"]
    shell = session.reads if dry_run else session.host
    found = ask(shell, words, session.droplet.name, cancel=context.cancel)
    each = {side: tuple(made(Prunable, row) for row in found[side]) for side in ("removed", "kept")}
    return made(Pruned, {**found, **each})


def told(context: Context, run: str, *, as_json: bool) -> ExitCode:
    """`pause RUN -d DROPLET`."""
    from opsctl.jobs.detached import ask
    from opsctl.spine.run_folder import made

    with on_droplet(context) as session:
        result = ask(session.host, ["migrate", "pause", run], session.droplet.name, cancel=context.cancel)
        done = CommandResult((DropletResult(session.droplet.name, made(RunControlled, result)),))

        def render(each: DropletResult[RunControlled]) -> None:
            from opsctl.render.migrate_runs import print_controlled

            assert each.result is not None
            print_controlled(each.result, droplet=each.name)

        return leave("migrate.pause", done, as_json=as_json, render=render, redact=context.redact)


def again(
    context: Context, action: str, run: str, *, as_json: bool, more: tuple[str, ...] = (), dry_run: bool = False
) -> ExitCode:
    """`resume`, `finish`, `rollback`, `replay` with `-d DROPLET`: begun there by itself, and watched from here."""
    from opsctl.jobs import detached
    from opsctl.jobs.migration_runs import WORKING

    with _left_alone(context, action, run), on_droplet(context) as session:
        if dry_run:
            return _foreseen(context, session, action, run, as_json=as_json)
        (now,) = _asked(session, run)
        if now.state in WORKING and action == "resume":
            detached.ask(session.host, ["migrate", "resume", now.run_id], session.droplet.name, cancel=context.cancel)
            return watch(context, session, now.run_id, as_json=as_json, name="migrate.resume")
        if action in ("finish", "rollback"):
            count = f" ({now.receipt.verified_total:,} records)" if now.receipt else ""
            context.confirm(f"{action.capitalize()} {now.run_id} on {session.droplet.name}: {now.source}{count}?")
        there = detached.look(session.reads, "", cancel=context.cancel)
        words = ["migrate", action, now.run_id, *more, "--yes"]
        memory = _limit(there, session.droplet.reserve)
        detached.start(session.host, now.run_id, words, memory=memory, files=None, cancel=context.cancel)
        return watch(context, session, now.run_id, as_json=as_json, name=f"migrate.{action}")


def _foreseen(context: Context, session: Session, action: str, run: str, *, as_json: bool) -> ExitCode:
    """What the droplet's own opsctl says `finish` or `rollback` would do there."""
    from opsctl.jobs.detached import ask
    from opsctl.model.migrate_run import Foreseen
    from opsctl.model.migrate_shown import Migrated
    from opsctl.spine.run_folder import made

    name = session.droplet.name
    result = ask(session.reads, ["migrate", action, run, "--dry-run"], name, cancel=context.cancel)
    following = tuple(f"{each} -d {name}" for each in result["next"])
    done = made(Migrated, {**result, "foreseen": made(Foreseen, result["foreseen"]), "next": following})

    def render(_: DropletResult[Migrated]) -> None:
        from opsctl.render.migrate import print_migrated

        print_migrated(done, redact=context.redact)

    answer = CommandResult((DropletResult(name, done),))
    return leave(f"migrate.{action}", answer, as_json=as_json, render=render, run_id=done.run_id, redact=context.redact)


def _limit(there: There, reserve: int) -> int:
    """Bytes for what goes on: all that is free but the reserve, and never so little that it cannot begin."""
    return max(there.available - reserve, 150_000_000)
