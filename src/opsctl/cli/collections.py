"""`opsctl collections`: the collections of Weaviate from a file: what differs, what is mended, a day put to rest."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opsctl.cli import commands
from opsctl.cli.context import Context
from opsctl.cli.options import DropletOption, DryRunOption, JsonOption, StackOption, VerboseOption
from opsctl.cli.output import finish
from opsctl.model.errors import UsageError
from opsctl.model.result import CommandResult, DropletResult

if TYPE_CHECKING:
    from opsctl.cli.stores import Stores
    from opsctl.model.collections import (
        ClosedDay,
        Collection,
        CollectionsReport,
        CollectionStore,
        Declared,
        Summariser,
    )

group = typer.Typer(no_args_is_help=True)

StoreOption = Annotated[
    str,
    typer.Option(
        "--store", metavar="STORE", help="A Weaviate of the stack file, or its URL; the only one there, without."
    ),
]
ViaOption = Annotated[str, typer.Option("--via", metavar="DROPLET", help="Reach the URL of --store through it.")]
FileOption = Annotated[
    Path | None,
    typer.Option("--file", metavar="FILE", help="The declaration; else collections.yaml beside the stack file."),
]


def register(app: typer.Typer) -> None:
    """Add the group to the app."""
    help_text = "The collections of Weaviate from a file: what differs, what is mended, a day put to rest."
    app.add_typer(group, name="collections", help=help_text, rich_help_panel=commands.DATA)


@group.command()
def status(
    ctx: typer.Context,
    store: StoreOption = "",
    via: ViaOption = "",
    file: FileOption = None,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """What is declared, what is there, and what differs.

    The declaration is collections.yaml beside the stack file, else the four
    collections that opsctl ships.
    """
    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose)
    with _opened(context, stack, droplets, store, via, file) as (live, declared):
        from opsctl.jobs.collections import status as look

        found = DropletResult("", look(live, declared, context.cancel))
    raise typer.Exit(_leave(context, "collections.status", found, as_json=as_json))


@group.command()
def apply(
    ctx: typer.Context,
    only: Annotated[
        list[str] | None, typer.Option("--collection", metavar="NAME", help="This one; repeatable. Else all.")
    ] = None,
    store: StoreOption = "",
    via: ViaOption = "",
    file: FileOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Make what is declared, and change what can be changed in place. Nothing is ever deleted.

    What cannot be changed in place (a type, a tokenization, a distance, tenants)
    is told with the reason and what to do instead; then it ends with 1, or with 5
    where other things were changed.
    """
    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose)
    with _opened(context, stack, droplets, store, via, file) as (live, declared):
        from opsctl.jobs.collections import apply as mend

        found = mend(live, declared, context.cancel, only=only or (), dry_run=dry_run)
    raise typer.Exit(_leave(context, "collections.apply", found, as_json=as_json))


@group.command("close-day")
def close_day(
    ctx: typer.Context,
    day: Annotated[str, typer.Argument(metavar="[DAY]", help="2026-11-27, 20261127; UTC.")] = "yesterday",
    collection: Annotated[str, typer.Option("--collection", metavar="NAME", help="Whose day.")] = "Session",
    command: Annotated[
        str,
        typer.Option(
            "--summary-command", metavar="CMD", help="A shell command: JSON lines on stdin, the summary on stdout."
        ),
    ] = "",
    url: Annotated[
        str,
        typer.Option(
            "--summary-url", metavar="URL", help="An endpoint: JSON lines are POSTed, text or JSON comes back."
        ),
    ] = "",
    summary_file: Annotated[
        Path | None,
        typer.Option("--summary-file", metavar="FILE", help="Keep the summary there, not in the declared collection."),
    ] = None,
    no_summary: Annotated[bool, typer.Option("--no-summary", help="Put it to rest without one.")] = False,
    again: Annotated[bool, typer.Option("--again", help="A new summary, even where there is one.")] = False,
    offload: Annotated[bool, typer.Option("--offload", help="To object storage, where the server has it.")] = False,
    within: Annotated[str, typer.Option("--within", metavar="TIME", help="How long a summary may take.")] = "10m",
    store: StoreOption = "",
    via: ViaOption = "",
    file: FileOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Summarise a day and put its tenant to rest.

    The objects go as JSON lines to a command or an endpoint. The summary is kept
    in the collection that the declaration names (tenants: {summary: Personal}),
    which is put to rest with no day, or in a file; it is read back before the
    tenant rests. A key for the endpoint comes from $OPSCTL_SUMMARY_TOKEN. A day
    that is not over yet is refused, one that rests already is unchanged.
    """
    from datetime import UTC, datetime

    from opsctl.jobs.close_day import Closing, parse_day
    from opsctl.jobs.close_day import close_day as close

    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose)
    tenant = parse_day(day, datetime.now(UTC))
    _one_way(command, url, no_summary)
    with _opened(context, stack, droplets, store, via, file) as (live, declared):
        made = _summariser(context, declared.collections.get(collection), command, url, within)
        wanted = Closing(tenant, collection, made, summary_file, offload, again, dry_run)
        found = DropletResult("", close(live, declared, wanted, context.cancel))

    def render(each: DropletResult[ClosedDay]) -> None:
        from opsctl.render.collections import print_closed

        assert each.result is not None
        print_closed(each.result)

    result = CommandResult((found,))
    raise typer.Exit(finish("collections.close-day", result, as_json=as_json, render=render, redact=context.redact))


def _one_way(command: str, url: str, no_summary: bool) -> None:
    given = [bool(command), bool(url), no_summary]
    if sum(given) != 1:
        what = "nobody is named who makes the summary" if not any(given) else "one way to a summary is enough"
        raise UsageError(
            what,
            why="--summary-command, --summary-url or --no-summary",
            next="opsctl collections close-day --summary-command 'your-summariser --max-words 200'",
        )


def _summariser(
    context: Context, collection: Collection | None, command: str, url: str, within: str
) -> Summariser | None:
    from opsctl.cli.stores import summary_command, summary_url
    from opsctl.model.secret import Secret
    from opsctl.model.units import parse_duration

    try:
        seconds = parse_duration(within)
    except ValueError as error:
        raise UsageError(f"--within {within}", why=str(error), next="--within 10m") from None
    if command:
        return summary_command(command, within=seconds)
    if not url:
        return None
    given = os.environ.get("OPSCTL_SUMMARY_TOKEN", "")
    token = Secret(given) if given else None
    if token is not None:
        context.redact.learn(token)
    private = collection is not None and collection.clinical
    return summary_url(url, token=token, within=seconds, private=private)


@contextmanager
def _opened(
    context: Context, stack: Path | None, droplets: list[str] | None, store: str, via: str, file: Path | None
) -> Iterator[tuple[CollectionStore, Declared]]:
    """The server and the declaration, which is read and checked before anything is connected."""
    from opsctl.cli.stores import Stores, weaviate_collections
    from opsctl.model.collections_file import load_collections

    with Stores(context, stack=stack, droplets=[*(droplets or ()), *([via] if via else [])]) as stores:
        folder = Path(stores.stack.path).parent if stores.stack.path else None
        declared = load_collections(folder, file)
        target = stores.target(store or only_weaviate(stores), ("weaviate",), flag="--store", via=via)
        live = weaviate_collections(target)
        try:
            yield live, declared
        finally:
            live.close()


def only_weaviate(stores: Stores) -> str:
    """The one Weaviate of the stack file. Raises UsageError for none and for several."""
    names = [name for name, each in stores.stack.stores.items() if "weaviate" in each]
    if len(names) == 1:
        return names[0]
    raise UsageError(
        f"the stack file has {len(names)} stores that are Weaviate" if names else "the stack file has no Weaviate",
        why=", ".join(names) if names else "nothing under `stores:` has the key weaviate",
        next=stores.instead("--store", names[0] if names else "http://127.0.0.1:8080"),
    )


def _leave(context: Context, name: str, found: DropletResult[CollectionsReport], *, as_json: bool) -> int:
    def render(each: DropletResult[CollectionsReport]) -> None:
        from opsctl.render.collections import print_collections

        assert each.result is not None
        print_collections(each.result, applied=name.endswith("apply"))

    return finish(name, CommandResult((found,)), as_json=as_json, render=render, redact=context.redact)
