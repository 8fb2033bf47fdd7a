"""`opsctl migrate dragonfly-to-weaviate`: memory items into a collection, each in its day's tenant, embedded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from opsctl.cli.migrating import FromOption, Shared, Stores, ToOption, run_migration, shared_options
from opsctl.model.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from opsctl.jobs.memory_items import Choices, MemoryItems, Shape, ShapedSink, Vectors
    from opsctl.model.cancel import Cancel
    from opsctl.model.collections import Collection
    from opsctl.model.migrate import Sink, Source

NAME = "dragonfly-to-weaviate"
_PLAIN, _EMBEDDING = 300_000_000, 500_000_000  # bytes, at most: MiniLM in fp32 takes about 240 MB by itself
_VECTORS = ("minilm", "precomputed", "server")


def dragonfly_to_weaviate(
    ctx: typer.Context,
    from_: FromOption,
    to: ToOption,
    shared: Shared,
    pattern: Annotated[str, typer.Option("--pattern", metavar="GLOB", help="Which keys.")] = "memory:*",
    collection: Annotated[str, typer.Option("--collection", metavar="NAME", help="Where they go.")] = "Session",
    vectors: Annotated[
        str,
        typer.Option(
            "--vectors",
            metavar="HOW",
            help="minilm embeds here; precomputed takes a field of the item; server leaves it to Weaviate.",
        ),
    ] = "minilm",
    vector: Annotated[
        str, typer.Option("--vector", metavar="NAME", help="The named vector that is filled.")
    ] = "minilm",
    model: Annotated[
        Path | None, typer.Option("--model", metavar="FOLDER", help="A folder with MiniLM, for want of a network.")
    ] = None,
    declaration: Annotated[
        Path | None,
        typer.Option(
            "--collections", metavar="FILE", help="The declaration; else collections.yaml beside the stack file."
        ),
    ] = None,
    fields: Annotated[
        list[str] | None,
        typer.Option("--field", metavar="PROPERTY=FIELD", help="Where a property is read from; repeatable."),
    ] = None,
    also: Annotated[
        str,
        typer.Option(
            "--also-to-postgres",
            metavar="STORE",
            help="Fill the table that `search` falls back on; verified is what both have.",
        ),
    ] = "",
    skip_expiring: Annotated[
        str, typer.Option("--skip-expiring", metavar="TIME", help="Leave out what expires within that time.")
    ] = "",
) -> None:
    """Copy memory items into a collection, verified: text, fields, vector and day.

    An item is a string holding a JSON object, or a hash. Its tenant is its own
    day (UTC), else the day it was first seen. Fields without a property are kept
    as JSON in `extra`. Weaviate expires nothing: `expiresAt` keeps the time a key
    would have gone. Other keys go to quarantine with the reason. Works on Redis,
    Valkey and Dragonfly, while clients go on writing.
    """
    from opsctl.model.stackfile_problem import nearest

    if vectors not in _VECTORS:
        near = nearest(vectors, _VECTORS) or _VECTORS[0]
        raise UsageError(f"--vectors {vectors}", why=f"expected one of {', '.join(_VECTORS)}", next=f"--vectors {near}")
    if model is not None and vectors != "minilm":
        raise UsageError("--model goes with --vectors minilm", next=f"--vectors minilm --model {model}")
    context = shared.context(ctx)
    wanted = _Wanted(pattern, collection, cast("Vectors", vectors), vector, model, _fields(fields), skip_expiring, also)
    if declaration is not None:
        from opsctl.model.collections_file import load_collections

        load_collections(None, declaration)  # before anything is connected, here or on a droplet
    sides = _Sides(from_, to, shared, wanted, context.cancel, declaration)
    sides.back = context.process.going_on is not None and context.process.going_on.action == "rollback"
    raise typer.Exit(
        run_migration(
            context,
            NAME,
            source=sides.source,
            transform=sides.transform,
            sink=sides.sink,
            options=wanted.options,
            shared=shared,
            memory=_EMBEDDING if vectors == "minilm" else _PLAIN,
            declaration=declaration,
        )
    )


@dataclass(frozen=True)
class _Wanted:
    """What shapes the items."""

    pattern: str
    collection: str
    vectors: Vectors
    vector: str
    model: Path | None
    fields: Mapping[str, Sequence[str]] = field(default_factory=dict)
    skip_expiring: str = ""
    also: str = ""

    @property
    def options(self) -> dict[str, str]:
        """As they are shown, and told apart by."""
        given = {"pattern": self.pattern, "collection": self.collection, "vectors": self.vectors}
        given |= {"vector": self.vector} if self.vectors != "server" else {}
        given |= {"model": str(self.model)} if self.model else {}
        given |= {f"field {prop}": ", ".join(names) for prop, names in self.fields.items()}
        given |= {"also_to_postgres": self.also} if self.also else {}
        return given | ({"skip_expiring": self.skip_expiring} if self.skip_expiring else {})

    @property
    def brought(self) -> tuple[str, ...]:
        """The named vectors that the items bring."""
        return () if self.vectors == "server" else (self.vector,)

    def choices(self) -> Choices:
        """For the transform. Raises UsageError for a time that is none."""
        from opsctl.jobs.memory_items import Choices
        from opsctl.model.units import parse_duration

        try:
            skip = parse_duration(self.skip_expiring) if self.skip_expiring else None
        except ValueError as error:
            what = f"--skip-expiring {self.skip_expiring}"
            raise UsageError(what, why=str(error), next="--skip-expiring 1h") from None
        return Choices("".join(self.brought), self.vectors, self.fields, skip)


class _Sides:
    """Both ends, and what is between: the collection's shape, asked for once it can be reached."""

    def __init__(
        self, from_: str, to: str, shared: Shared, wanted: _Wanted, cancel: Cancel, declaration: Path | None
    ) -> None:
        self._from, self._to, self._shared, self._wanted, self._cancel = from_, to, shared, wanted, cancel
        self._declaration = declaration
        self.back = False  # a rollback, which exports nothing
        self._choices = wanted.choices()
        self._made: ShapedSink | None = None
        self._items: MemoryItems | None = None

    def source(self, stores: Stores) -> Source:
        """The keys. A dry run shows every vector that does not fit; any other ends before the first write."""
        from opsctl.cli.stores import redis_source
        from opsctl.jobs.memory_widths import Looked

        target = stores.target(self._from, ("redis",), flag="--from", via=self._shared.from_via)
        declared = self._declared(stores)
        if declared is not None and declared.clinical and target.export_key is None and not self.back:
            raise _clear(declared.name, target.store)
        source = redis_source(target, self._wanted.pattern)
        return source if self._shared.dry_run else Looked(source, self.transform(stores))

    def transform(self, stores: Stores) -> MemoryItems:
        """From keys to objects."""
        from opsctl.cli.stores import minilm
        from opsctl.jobs.memory_items import MemoryItems

        if self._items is None:
            embedder = minilm(self._wanted.model) if self._wanted.vectors == "minilm" else None
            sink = self._weaviate(stores)
            self._items = MemoryItems(lambda: self._shape(sink), self._choices, embedder)
        return self._items

    def sink(self, stores: Stores) -> Sink:
        """The collection, and the table beside it where one is wanted."""
        if not self._wanted.also:
            return self._weaviate(stores)
        from opsctl.cli.stores import postgres_memory
        from opsctl.jobs.migrate_tee import Tee

        target = stores.target(self._wanted.also, ("postgres",), flag="--also-to-postgres")
        vector = "".join(self._wanted.brought)
        return Tee(self._weaviate(stores), postgres_memory(target, self._wanted.collection, vector, self._model))

    def _model(self) -> str:
        """Which model the vectors are of, for whoever compares others with them."""
        from opsctl.model.embedding import label

        return label(self._items.describe()) if self._items is not None else ""

    def _weaviate(self, stores: Stores) -> ShapedSink:
        """The collection; what is declared of it says which widths fit, and whether it is clinical."""
        from opsctl.cli.stores import weaviate_sink

        if self._made is None:
            declared = self._declared(stores)
            vectors = declared.vectors if declared else {}
            widths = {name: each.width for name, each in vectors.items() if each.width}
            target = stores.target(self._to, ("weaviate",), flag="--to", via=self._shared.to_via)
            clinical = declared is not None and declared.clinical
            self._made = weaviate_sink(
                target, self._wanted.collection, vectors=self._wanted.brought, widths=widths, clinical=clinical
            )
        return self._made

    def _declared(self, stores: Stores) -> Collection | None:
        from opsctl.model.collections_file import load_collections

        folder = Path(stores.stack.path).parent if stores.stack.path else None
        return load_collections(folder, self._declaration).collections.get(self._wanted.collection)

    def _shape(self, sink: ShapedSink) -> Shape:
        from opsctl.jobs.memory_items import Shape

        properties, by_day = sink.shape(self._cancel)
        return Shape(self._wanted.collection, properties, by_day, sink.widths)


def _clear(collection: str, store: str) -> ConfigError:
    where = f"stores.{store}" if store else "the store, which has to be one of the stack file,"
    return ConfigError(
        f"{collection} is clinical, and what is read for it would be exported in the clear",
        why=f"{where} has no export_key",
        next='put export_key: "${cmd:…}" there, a command that prints what `openssl rand -base64 32` made once',
        code="clinical-export",
    )


def _fields(given: list[str] | None) -> dict[str, list[str]]:
    """PROPERTY=FIELD, repeated for more fields of one property. Raises UsageError."""
    found: dict[str, list[str]] = {}
    for text in given or ():
        prop, equals, name = text.partition("=")
        if not equals or not prop or not name:
            raise UsageError(f"--field {text}: not a property and a field", next="--field text=body")
        found.setdefault(prop, []).append(name)
    return found


def register(group: typer.Typer) -> None:
    """Add the migration to the group."""
    group.command(NAME)(shared_options(dragonfly_to_weaviate))
