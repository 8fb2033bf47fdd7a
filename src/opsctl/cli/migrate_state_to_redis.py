"""`opsctl migrate state-to-redis`: a state file into sessions, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from opsctl.cli.migrating import Shared, Stores, run_migration, shared_options

if TYPE_CHECKING:
    from opsctl.model.migrate import Sink, Source, Transform

NAME = "state-to-redis"


def state_to_redis(
    ctx: typer.Context,
    from_: Annotated[
        str, typer.Option("--from", metavar="FILE", help="graph_state.json, or a json store of the stack file.")
    ],
    to: Annotated[
        str, typer.Option("--to", metavar="STORE", help="A redis store of the stack file, or a URL without a password.")
    ],
    shared: Shared,
    reverse: Annotated[
        bool, typer.Option("--reverse", help="The way back: --from is the Redis then, and --to the file.")
    ] = False,
    prefix: Annotated[str, typer.Option("--prefix", metavar="TEXT", help="Keys are this and the id.")] = "session:",
    ttl: Annotated[
        str, typer.Option("--ttl", metavar="TIME", help="How long a session lives unused; none is for ever.")
    ] = "1h",
    session: Annotated[
        str, typer.Option("--session", metavar="ID", help="The file is the state of this one session.")
    ] = "",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a session that is there with another state; else refused.")
    ] = False,
) -> None:
    """Copy the sessions of a JSON file into keys, verified; --reverse copies them back.

    The file is an object of sessions by their ids, or with --session one state.
    Each is kept byte for byte. The TTL begins when a session is written: the
    application has to renew it whenever it uses one. The file is written whole
    or not at all, and what it was before stays beside it.
    """
    from opsctl.jobs.graph_sessions import KeysToSessions, SessionsToKeys

    lives = seconds(ttl)
    options = {"prefix": prefix} | ({"session": session} if session else {})
    options |= {"reverse": "yes"} if reverse else {"ttl": ttl}
    options |= {"overwrite": "yes"} if overwrite else {}
    kind = "redis" if reverse else "json"

    def source(stores: Stores) -> Source:
        from opsctl.cli.stores import json_file, redis_beginning, redis_source

        if kind == "json":
            return json_file(stores.target(from_, ("json",), flag="--from"), session)
        target = stores.target(from_, ("redis",), flag="--from", via=shared.from_via)
        return redis_source(target, redis_beginning(prefix + session) + ("" if session else "*"))

    def sink(stores: Stores) -> Sink:
        from opsctl.cli.stores import json_file, redis_sink

        if kind == "redis":
            return json_file(stores.target(to, ("json",), flag="--to"), session, missing_ok=True)
        return redis_sink(stores.target(to, ("redis",), flag="--to", via=shared.to_via), keep=not overwrite)

    def transform(_: Stores) -> Transform:
        return KeysToSessions(prefix) if reverse else SessionsToKeys(prefix, lives)

    raise typer.Exit(
        run_migration(
            shared.context(ctx), NAME, source=source, transform=transform, sink=sink, options=options, shared=shared
        )
    )


def seconds(text: str) -> float | None:
    """What --ttl says; None for `none`. Raises UsageError."""
    from opsctl.model.errors import UsageError
    from opsctl.model.units import parse_duration

    if text == "none":
        return None
    try:
        found = parse_duration(float(text) if text.isdigit() else text)
        if found < 1:
            raise ValueError("expected at least a second")
    except ValueError as error:
        raise UsageError(f"--ttl {text}", why=str(error), next="--ttl 1h   (or --ttl none)") from None
    return found


def register(group: typer.Typer) -> None:
    """Add the command to the group."""
    group.command(NAME)(shared_options(state_to_redis))
