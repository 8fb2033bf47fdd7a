"""`opsctl search`: memory items by meaning and by words, in Weaviate, else in the fallback."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opsctl.cli import commands
from opsctl.cli.context import Context
from opsctl.cli.options import JsonOption, StackOption, VerboseOption
from opsctl.cli.output import finish

if TYPE_CHECKING:
    from collections.abc import Callable

    from opsctl.cli.stores import Stores
    from opsctl.jobs.search import Opener
    from opsctl.model.embedding import Embedder
    from opsctl.model.result import DropletResult
    from opsctl.model.search import SearchReport, SearchStore
    from opsctl.model.store import StoreKind

_WHERE = "Where"


def search(
    ctx: typer.Context,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to look for.")],
    collection: Annotated[str, typer.Option("--collection", metavar="NAME", help="In which collection.")] = "Session",
    tenants: Annotated[
        list[str] | None, typer.Option("--tenant", metavar="DAY", help="In this day, yyyymmdd; repeatable.")
    ] = None,
    days: Annotated[
        int, typer.Option("--days", metavar="N", min=1, max=400, help="Without --tenant: in the newest N days.")
    ] = 7,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=1000, help="How many items.")] = 10,
    in_: Annotated[
        str,
        typer.Option(
            "--in", metavar="STORE", help="The Weaviate; else the stack file's only one.", rich_help_panel=_WHERE
        ),
    ] = "",
    fallback: Annotated[
        str,
        typer.Option(
            "--fallback",
            metavar="STORE",
            help="The PostgreSQL to ask instead, or none; else the stack file's only one.",
            rich_help_panel=_WHERE,
        ),
    ] = "",
    vector: Annotated[
        str, typer.Option("--vector", metavar="NAME", help="The named vector; else the one there is.")
    ] = "",
    model: Annotated[
        Path | None, typer.Option("--model", metavar="FOLDER", help="A folder with MiniLM; else $OPSCTL_MODEL.")
    ] = None,
    within: Annotated[
        str, typer.Option("--within", metavar="TIME", help="How long to wait for a store before the next is asked.")
    ] = "3s",
    as_json: JsonOption = False,
    stack: StackOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Find memory items by what they mean and by their words.

    Weaviate is asked first: near vectors and BM25 in each day, fused over all
    days. When it does not answer, the table that --also-to-postgres filled is
    asked in the same way, and that is said.
    """
    from opsctl.jobs.search import search as look
    from opsctl.model.errors import UsageError
    from opsctl.model.result import CommandResult, DropletResult
    from opsctl.model.search import Question

    if not text.strip():
        raise UsageError("there is nothing to look for", next="opsctl search 'memory limit of the droplet'")
    patience = _patience(within)
    question = Question(text, collection, tuple(dict.fromkeys(tenants or ())), days, limit)
    context = Context(ctx, stack=stack, verbose=verbose)
    with _open(context, stack) as stores:
        from opsctl.cli.stores import minilm

        embedder = minilm(model)
        first, second = _openers(stores, embedder, in_, fallback, vector, patience)
        report = look(question, embedder, first=first, fallback=second, within=patience, cancel=context.cancel)
    result = CommandResult((DropletResult("", report),))

    def render(each: DropletResult[SearchReport]) -> None:
        from opsctl.render.search import print_search

        assert each.result is not None
        print_search(each.result)

    if report.failed and not as_json:
        from opsctl.render.search import warn

        warn(report, context.redact)
    raise typer.Exit(finish("search", result, as_json=as_json, render=render, redact=context.redact))


def _patience(text: str) -> float:
    """Seconds. Raises UsageError."""
    from opsctl.model.errors import UsageError
    from opsctl.model.units import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--within: {error}", next="--within 3s") from None


def _open(context: Context, stack: Path | None) -> Stores:
    from opsctl.cli.stores import Stores

    return Stores(context, stack=stack)


def _openers(
    stores: Stores, embedder: Embedder, in_: str, fallback: str, vector: str, patience: float
) -> tuple[Opener | None, Opener | None]:
    """What opens the first store, and what the fallback; each is reached when it is asked."""
    from opsctl.cli.stores import postgres_search, weaviate_search
    from opsctl.model.embedding import label
    from opsctl.model.errors import ConfigError

    def weaviate(name: str) -> Callable[[], SearchStore]:
        return lambda: weaviate_search(
            stores.target(name, ("weaviate",), flag="--in"), vector=vector, patience=patience
        )

    def postgres(name: str) -> Callable[[], SearchStore]:
        return lambda: postgres_search(
            stores.target(name, ("postgres",), flag="--fallback"),
            model=lambda: label(embedder.describe()),
            patience=patience,
        )

    if not (stores.stack.path or in_ or fallback):
        raise ConfigError(
            "there is no store to search in",
            why="there is no stack file, and neither --in nor --fallback names one",
            next="opsctl init user@host   (or add --in http://127.0.0.1:8080)",
        )
    first = in_ or _only(stores, "weaviate", "--in", several=True)
    second = "" if fallback == "none" else fallback or _only(stores, "postgres", "--fallback", several=not first)
    if second:  # asked only when the first does not answer: a wrong name would show on the worst of days
        stores.check(second, ("postgres",), flag="--fallback")
    return weaviate(first) if first else None, postgres(second) if second else None


def _only(stores: Stores, kind: StoreKind, flag: str, *, several: bool) -> str:
    """The stack file's only store of a kind; "" where there is none. Raises UsageError where one must be named."""
    from opsctl.model.errors import UsageError

    names = [name for name, each in stores.stack.stores.items() if kind in each]
    if len(names) > 1 and several:
        raise UsageError(
            f"the stack file has {len(names)} stores of {kind}", why=", ".join(names), next=f"{flag} {names[0]}"
        )
    return names[0] if len(names) == 1 else ""


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("search", rich_help_panel=commands.DATA)(search)
