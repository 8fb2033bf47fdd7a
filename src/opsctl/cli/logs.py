"""`opsctl logs`: lines of one or several services."""

from __future__ import annotations

import json
import queue
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from opsctl.cli import commands
from opsctl.cli.context import Context, Session
from opsctl.cli.options import DropletOption, StackOption, VerboseOption
from opsctl.model.errors import ErrorInfo, ExitCode
from opsctl.model.jsonable import to_jsonable
from opsctl.model.result import CommandResult, DropletResult

if TYPE_CHECKING:
    from opsctl.jobs.containers import Found
    from opsctl.jobs.logs import History, LogLine, Query
    from opsctl.jobs.logs_follow import Notice
    from opsctl.render.logs import LogPrinter

_ENOUGH_AT_ONCE = 500  # lines between two looks at the signals


def logs(
    ctx: typer.Context,
    services: Annotated[
        list[str] | None, typer.Argument(metavar="SERVICE", help="Services or containers; else the whole stack.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on; Ctrl-C ends it (exit 0).")] = False,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="From 10m ago, or from 2026-11-20T18:00 (UTC).")
    ] = None,
    tail: Annotated[
        str | None,
        typer.Option(
            "--tail", "-n", metavar="N", help="Last N lines of each, or all.  [default: 100 of one, 20 of several]"
        ),
    ] = None,
    grep: Annotated[
        str | None,
        typer.Option("--grep", "-g", metavar="REGEX", help="Only lines that match (of the last 10,000, or --tail)."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout.")] = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Log lines of one or several services.

    In the order of time (UTC); without names, all services of the stack. With
    -f a service that is restarted or made anew is taken up again. Lines are
    shown as they were written; only what a terminal acts on is taken out.
    """
    from opsctl.jobs.logs import query
    from opsctl.render.logs import LogPrinter

    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose)
    names = tuple(services or ())
    wanted = query(tail=tail, since=since, grep=grep, services=len(names))
    chosen = context.droplets(reading=True)
    printer = LogPrinter(as_json=as_json, with_droplet=len(chosen) > 1)
    show = _follow if follow else _show
    result = show(context, names, wanted, printer)
    printer.flush()
    for each in result.droplets:
        if each.result is not None and not each.result.resume and not context.cancel.cancelled:
            printer.notice(each.name, "", "no container of the stack yet; next: opsctl startup --phase 1")
    raise typer.Exit(_ended(result, follow=follow, context=context, as_json=as_json))


def _past(session: Session, names: Sequence[str], wanted: Query) -> tuple[tuple[Found, ...], History, str]:
    from opsctl.jobs.containers import read
    from opsctl.jobs.logs import choose, history

    containers = read(session.reads, session.stack, session.droplet, cancel=session.cancel)
    found = choose(containers, names)
    socket = session.droplet.socket or ""
    past = history(session.reads, found, wanted, droplet=session.droplet.name, socket=socket, cancel=session.cancel)
    return found, past, "" if names else containers.project


def _show(context: Context, names: Sequence[str], wanted: Query, printer: LogPrinter) -> CommandResult[History]:
    def job(session: Session) -> DropletResult[History]:
        return DropletResult(session.droplet.name, _past(session, names, wanted)[1])

    result = context.over(job, reading=True)
    lines = [line for each in result.droplets if each.result for line in each.result.lines]
    printer.names(sorted({printer.label(line.droplet, line.service) for line in lines}))
    for line in sorted(lines, key=lambda line: line.time):
        printer.line(line)
    return result


def _follow(context: Context, names: Sequence[str], wanted: Query, printer: LogPrinter) -> CommandResult[History]:
    from opsctl.jobs.logs_follow import Follower

    arrived: queue.SimpleQueue[LogLine | Notice | None] = queue.SimpleQueue()

    def job(session: Session) -> DropletResult[History]:
        found, past, project = _past(session, names, wanted)
        if not found and not project:
            return DropletResult(session.droplet.name, past)
        printer.names([printer.label(session.droplet.name, each.label) for each in found])
        for line in past.lines:
            arrived.put(line)
        follower = Follower(
            session.host,
            wanted,
            arrived.put,
            droplet=session.droplet.name,
            socket=session.droplet.socket or "",
            cancel=session.cancel,
        )
        follower.run(found, past.resume, since=past.read_at, project=project)
        return DropletResult(session.droplet.name, past)

    return _drain(context, lambda: context.over(job, reading=True), arrived, printer)


def _drain(
    context: Context,
    work: Callable[[], CommandResult[History]],
    arrived: queue.SimpleQueue[LogLine | Notice | None],
    printer: LogPrinter,
) -> CommandResult[History]:
    """Print in the main thread what the workers find, until they end or somebody stops them."""
    results: list[CommandResult[History]] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - handed to the main thread, which has the one catcher
            failures.append(error)
        finally:
            arrived.put(None)

    worker = threading.Thread(target=run, name="logs")
    worker.start()
    try:
        _print_until_end(arrived, printer)
    finally:
        if worker.is_alive():
            context.cancel.cancel()
        worker.join()
    if failures:
        raise failures[0]
    return results[0]


def _print_until_end(arrived: queue.SimpleQueue[LogLine | Notice | None], printer: LogPrinter) -> None:
    from opsctl.jobs.logs_follow import Notice

    unflushed = 0
    while True:
        try:
            item = arrived.get(timeout=0.2) if not unflushed else arrived.get_nowait()
        except queue.Empty:
            printer.flush()
            unflushed = 0
            continue
        if item is None:
            return
        if isinstance(item, Notice):
            printer.notice(item.droplet, item.service, item.text)
        else:
            printer.line(item)
        unflushed = (unflushed + 1) % _ENOUGH_AT_ONCE


def _ended(result: CommandResult[History], *, follow: bool, context: Context, as_json: bool) -> int:
    """Tell the errors, and decide the exit code: a name that only some droplets know is no error."""
    entries = result.droplets
    if any(each.ok for each in entries):
        entries = tuple(each for each in entries if each.exit_code is not ExitCode.USAGE)
    if follow and context.cancel.cancelled:
        if context.cancel.signum != 2:
            return 128 + context.cancel.signum
        entries = tuple(each for each in entries if each.exit_code is not ExitCode.INTERRUPTED)
    for each in entries:
        if each.error is not None:
            _tell(each.error, each.name if len(result.droplets) > 1 else "", as_json=as_json)
    return int(CommandResult(entries).exit_code)


def _tell(error: ErrorInfo, droplet: str, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps({"droplet": droplet, "error": to_jsonable(error)}, ensure_ascii=False) + "\n")
        return
    from opsctl.render.errors import print_error

    print_error(error, droplet=droplet)


def register(app: typer.Typer) -> None:
    """Add `logs`."""
    app.command("logs", rich_help_panel=commands.DAILY)(logs)
