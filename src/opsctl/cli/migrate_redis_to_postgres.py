"""`opsctl migrate redis-to-postgres`: hashes whose keys match a pattern into the rows of one table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from opsctl.cli.migrating import FromOption, Shared, Stores, ToOption, run_migration, shared_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opsctl.jobs.table_rows import TableRows
    from opsctl.jobs.tables import Wanted
    from opsctl.model.cancel import Cancel
    from opsctl.model.migrate import Record, Sink, Source
    from opsctl.model.table import InferredTable

NAME = "redis-to-postgres"


def redis_to_postgres(
    ctx: typer.Context,
    from_: FromOption,
    to: ToOption,
    match: Annotated[str, typer.Option("--match", metavar="PATTERN", help="Which keys, like 'job:*'.")],
    table: Annotated[str, typer.Option("--table", metavar="NAME", help="The table, perhaps SCHEMA.NAME.")],
    shared: Shared,
    id_from: Annotated[
        str, typer.Option("--id-from", metavar="FIELD", help="The field that tells rows apart; else the key.")
    ] = "",
    key: Annotated[
        str, typer.Option("--key", metavar="COLUMN", help="The column that keys go into, without --id-from.")
    ] = "key",
    columns: Annotated[
        list[str] | None,
        typer.Option("--column", metavar="NAME=TYPE", help="The type of a column; repeatable. Else inferred."),
    ] = None,
    sample: Annotated[
        int, typer.Option("--sample", metavar="N", min=1, max=100_000, help="Hashes that types are inferred from.")
    ] = 1000,
) -> None:
    """Copy hashes into a table, a row each, verified.

    Types are inferred from a sample: bigint, numeric, boolean, timestamptz,
    uuid, jsonb, else text; what begins with a zero stays text. --dry-run shows
    them. A table that is there keeps its types. A row with the same key is
    replaced. What does not fit its column goes to quarantine.
    """
    from opsctl.jobs.tables import Wanted
    from opsctl.model.migrate import Limits

    types = dict(_chosen(each) for each in columns or ())
    sides = _Sides(from_, to, match, Wanted(table, key, id_from, types), shared, sample)
    options = {"match": match, "table": table} | ({"id_from": id_from} if id_from else {"key": key})
    options |= {f"column {name}": kind for name, kind in types.items()}
    context = shared.context(ctx)
    sides.cancel = context.cancel
    raise typer.Exit(
        run_migration(
            context,
            NAME,
            source=sides.source,
            transform=sides.transform,
            sink=sides.sink,
            options=options,
            shared=shared,
            # Rows are small, and each batch costs its nine round trips to PostgreSQL, however many rows it has.
            suiting=Limits(batch=2_000, queue=1),
        )
    )


def _chosen(text: str) -> tuple[str, str]:
    """NAME=TYPE. Raises UsageError."""
    from opsctl.model.errors import UsageError

    name, equals, kind = text.rpartition("=")
    if not equals or not name or not kind:
        raise UsageError(f"--column {text}: not a name and a type", next="--column amount=numeric")
    return name, kind.strip().lower()


class _Sides:
    """Both ends. The sample is taken when the transform is built: the table's shape is the sink's, too."""

    cancel: Cancel

    def __init__(self, from_: str, to: str, match: str, wanted: Wanted, shared: Shared, sample: int) -> None:
        self._from, self._to, self._match, self._wanted = from_, to, match, wanted
        self._shared, self._sample = shared, sample
        self._source: Source
        self._table: InferredTable

    def source(self, stores: Stores) -> Source:
        """The server that the hashes come from."""
        from opsctl.cli.stores import redis_source

        target = stores.target(self._from, ("redis",), flag="--from", via=self._shared.from_via)
        self._source = redis_source(target, self._match)
        return self._source

    def transform(self, stores: Stores) -> TableRows:
        """Hashes as rows of the table that fits them."""
        from opsctl.cli.stores import postgres_table
        from opsctl.jobs.table_rows import TableRows
        from opsctl.jobs.tables import infer

        target = stores.target(self._to, ("postgres",), flag="--to", via=self._shared.to_via)
        live, ours = postgres_table(target, self._wanted.table, self.cancel)
        self._table = infer(self._some(), self._wanted, live, ours=ours)
        return TableRows(self._table)

    def sink(self, stores: Stores) -> Sink:
        """The table that they go into."""
        from opsctl.cli.stores import postgres_sink

        return postgres_sink(stores.targets["--to"], self._table.shape)

    def _some(self) -> Iterator[Record]:
        """The sample: the first hashes that a scan gives."""
        left = self._sample
        for batch in self._source.scan(min(1000, self._sample), self.cancel):
            for record in batch:
                if record.kind == "hash":
                    left -= 1
                    yield record
                if left <= 0:
                    return


def register(group: typer.Typer) -> None:
    """Add the command to the group."""
    group.command(NAME)(shared_options(redis_to_postgres))
