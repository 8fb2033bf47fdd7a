"""`opsctl migrate redis-to-managed`: every key with its TTL, to a server that somebody else runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from opsctl.cli.migrating import FromOption, Shared, Stores, ToOption, run_migration, shared_options

if TYPE_CHECKING:
    from opsctl.model.migrate import Sink, Source

NAME = "redis-to-managed"


def redis_to_managed(
    ctx: typer.Context,
    from_: FromOption,
    to: ToOption,
    shared: Shared,
    match: Annotated[str, typer.Option("--match", metavar="PATTERN", help="Which keys, like 'session:*'.")] = "*",
    max_value: Annotated[
        str, typer.Option("--max-value", metavar="SIZE", help="What is larger goes to quarantine.")
    ] = "10MB",
) -> None:
    """Copy keys of every type with the time they end, verified.

    For Redis, Valkey and Dragonfly, and for managed ones like Upstash
    (rediss://). Their own dump is used where the target takes it, else plain
    commands. What has the same name there is replaced. A quota of commands is
    kept with --rate: a key takes about 3. What the target lacks is said first.
    """
    from opsctl.jobs.redis_copy import KeysAsTheyAre

    size = bytes_of(max_value)

    def source(stores: Stores) -> Source:
        from opsctl.cli.stores import redis_reading, redis_source

        target = stores.target(from_, ("redis",), flag="--from", via=shared.from_via)
        return redis_source(target, match, redis_reading(most=size))

    def sink(stores: Stores) -> Sink:
        from opsctl.cli.stores import redis_sink

        target = stores.target(to, ("redis",), flag="--to", via=shared.to_via)
        apart(stores.targets["--from"].identity, target.identity)
        return redis_sink(target)

    raise typer.Exit(
        run_migration(
            shared.context(ctx),
            NAME,
            source=source,
            transform=lambda _: KeysAsTheyAre(),
            sink=sink,
            options={"match": match, "max_value": max_value},
            shared=shared,
        )
    )


def bytes_of(text: str) -> int:
    """What --max-value says. Raises UsageError."""
    from opsctl.model.errors import UsageError
    from opsctl.model.units import parse_size

    try:
        size = parse_size(text)
    except ValueError as error:
        raise UsageError(f"--max-value {text}", why=str(error), next="--max-value 10MB") from None
    if not 0 < size <= 512_000_000:
        raise UsageError(
            f"--max-value {text}", why="a value of a Redis has up to 512 MB, and is read whole", next="--max-value 10MB"
        )
    return size


def apart(first: str, second: str) -> None:
    """Raises UsageError where both ends are one store."""
    from opsctl.model.errors import UsageError

    if first == second:
        raise UsageError(
            f"--from and --to are the same store, {first}",
            why="everything in it would be replaced by itself, and deleted by `migrate finish`",
            next="name another one, or another database of it: redis://127.0.0.1:6379/1",
        )


def register(group: typer.Typer) -> None:
    """Add the command to the group."""
    group.command(NAME)(shared_options(redis_to_managed))
