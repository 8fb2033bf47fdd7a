"""`opsctl recover`: bring a droplet back, with the mildest step that helps."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opsctl.cli import commands
from opsctl.cli.changing import Ahead
from opsctl.cli.context import Context, Session
from opsctl.cli.options import (
    DropletOption,
    DryRunOption,
    JsonOption,
    StackOption,
    VerboseOption,
    WaitOption,
    YesOption,
)
from opsctl.cli.output import finish
from opsctl.model.errors import OpsError, UnreachableError, UsageError
from opsctl.model.recovery import Rung
from opsctl.model.result import DropletResult

if TYPE_CHECKING:
    from opsctl.jobs.recover_link import Link, Wishes
    from opsctl.model.cancel import Cancel
    from opsctl.model.events import Event
    from opsctl.model.recovery import Recovery
    from opsctl.model.stack import Droplet
    from opsctl.render.progress import Progress


def recover(
    ctx: typer.Context,
    up_to: Annotated[
        Rung | None, typer.Option("--up-to", help="Go no further than this; each includes those before it.")
    ] = None,
    optimal: Annotated[
        bool, typer.Option("--optimal", help="Bring up and prove all phases, not only what must run.")
    ] = False,
    within: Annotated[str, typer.Option("--within", metavar="TIME", help="How long a boot may take.")] = "5m",
    gentle: Annotated[
        str,
        typer.Option(
            "--gentle",
            metavar="TIME",
            help="What the provider's reboot gets on a silent droplet before its power is cut; 0s: skip it.",
        ),
    ] = "30s",
    ignore_memory: Annotated[bool, typer.Option("--ignore-memory", help="Start what does not fit, too.")] = False,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write the report as one HTML file, too.")
    ] = None,
    yes: YesOption = False,
    wait: WaitOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Bring a droplet back, with the mildest step that helps.

    Restart what failed; stop all but the fallback set; reboot over SSH;
    reboot, then power-cycle through the provider. Each step is proved before
    the next is tried: SSH, every service of the fallback set, no OOM kill,
    memory above the reserve. Asks before it restarts a running engine, before
    a reboot and before a power-cycle; --yes with --up-to answers yes up to
    there. Without a terminal and without --yes it goes no further than the
    fallback set.
    """
    context = Context(ctx, stack=stack, droplets=droplets, yes=yes, verbose=verbose, wait=wait)
    if yes and up_to is None:
        raise UsageError(
            "--yes needs --up-to: how far may it go?",
            why="a power-cycle is a hard cut under every database",
            next=f"{context.command_line} --up-to reboot",
        )
    bound = _bound(context, up_to, yes=yes or dry_run)
    names = context.droplets(reading=dry_run)
    if html is not None and not html.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {html.absolute().parent} to write {html.name} to", next="mkdir -p …")
    seconds = {"--within": _seconds(within, "--within"), "--gentle": _seconds(gentle, "--gentle")}
    patience = context.wait

    def wishes() -> Wishes:
        from opsctl.jobs.recover_link import Wishes

        return Wishes(
            up_to=bound,
            optimal=optimal,
            dry_run=dry_run,
            within=seconds["--within"],
            gentle=seconds["--gentle"],
            ignore_memory=ignore_memory,
            wait=patience,
        )

    screen = _Screen(context, as_json=as_json, many=len(names) > 1)
    ears = {droplet.name: _Ear(context, droplet) for droplet in names}
    with screen:
        result = context.over(
            lambda session: _one(context, session, screen, wishes(), ears[session.droplet.name]), reading=dry_run
        )

    def render(each: DropletResult[Recovery]) -> None:
        from opsctl.render.recover import print_recovery

        if each.result is not None:
            print_recovery(each.result, redact=context.redact)

    if html is not None:
        _write(html, [each.result for each in result.droplets if each.result is not None], context.redact)
    code = finish("recover", result, as_json=as_json, render=render, run_id=context.run_id, redact=context.redact)
    raise typer.Exit(code)


def _bound(context: Context, up_to: Rung | None, *, yes: bool) -> Rung:
    """How far it may go: as far as was said; as far as somebody can be asked."""
    if up_to in (Rung.SERVICE, Rung.FALLBACK):
        return up_to
    if not yes and not context.on_terminal:
        if up_to is not None:
            raise UsageError(
                f"--up-to {up_to.value} cuts a running system, and there is no terminal to ask on",
                next=f"{context.command_line} --yes",
            )
        return Rung.FALLBACK
    return up_to or Rung.POWER_CYCLE


class _Ear:
    """Whether a droplet's sshd says who it is: asked from now on, while this process still loads what it needs."""

    def __init__(self, context: Context, droplet: Droplet) -> None:
        self.knock = context.knocker(droplet)
        self._first: Ahead[None] | None = Ahead(lambda: self.knock.listen(context.cancel))

    def listen(self, cancel: Cancel) -> None:
        """As Means.listen: what was asked first, and then anew each time."""
        first, self._first = self._first, None
        try:
            if first is not None:
                first.result()
            else:
                self.knock.listen(cancel)
        except UnreachableError:
            # Nobody to log in to yet: what a login takes is loaded in the meantime.
            threading.Thread(target=self.knock.prepare, name="import").start()
            raise


def _one(context: Context, session: Session, screen: _Screen, wishes: Wishes, ear: _Ear) -> DropletResult[Recovery]:
    from opsctl.cli.changing import call_of
    from opsctl.jobs.call import STATE_DIR
    from opsctl.jobs.recover import recover as bring_back
    from opsctl.jobs.recover_link import Link, Means

    @contextmanager
    def connect(patience: float) -> Iterator[Link]:
        with context.session(session.droplet, patience=patience) as own:
            yield Link(call_of(context, own, screen, ahead=False), own.reads, own.why)

    entry = call_of(context, session, screen, ahead=False).entry
    return bring_back(
        Means(
            droplet=session.droplet,
            stack=session.stack,
            connect=connect,
            knock=ear.knock,
            listen=ear.listen,
            cloud=lambda: session.cloud,
            ask=screen.ask,
            entry=entry,
            reporter=screen,
            cancel=session.cancel,
            state_dir=STATE_DIR,
        ),
        wishes,
    )


class _Screen:
    """The progress, put aside while a question is on the terminal."""

    def __init__(self, context: Context, *, as_json: bool, many: bool) -> None:
        self._context, self._as_json, self._many = context, as_json, many
        self._lock = threading.RLock()
        self._progress: Progress | None = None

    def __enter__(self) -> _Screen:
        from opsctl.render.progress import progress

        self._progress = progress(as_json=self._as_json, many=self._many, redact=self._context.redact)
        self._progress.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.__exit__(None, None, None)
            self._progress = None

    def emit(self, event: Event) -> None:
        """As Reporter.emit."""
        with self._lock:
            if self._progress is not None:
                self._progress.emit(event)

    def ask(self, question: str) -> bool:
        """Whether it may be done; asked on the terminal unless --yes has said so."""
        with self._lock:
            self.__exit__()
            try:
                self._context.confirm(question)
            except typer.Abort:
                return False
            finally:
                self.__enter__()
        return True


def _seconds(text: str, option: str) -> float:
    from opsctl.model.units import parse_duration

    try:
        return parse_duration(float(text) if text.replace(".", "", 1).isdigit() else text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}", next=f"opsctl recover {option} 5m") from None


def _write(path: Path, found: list[Recovery], redact: Callable[[str], str]) -> None:
    from opsctl.render.recover_html import recovery_html

    try:
        path.write_text(recovery_html(found, redact=redact), encoding="utf-8")
    except OSError as error:
        raise OpsError(f"{path} could not be written", why=str(error.strerror or error)) from error
    typer.echo(f"wrote {path}", err=True)


def register(app: typer.Typer) -> None:
    """Add `recover`."""
    app.command("recover", rich_help_panel=commands.BROKE)(recover)
