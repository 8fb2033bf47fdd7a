"""`opsctl migrate qdrant-to-cloud`: the collections of a Qdrant server or folder into another server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from opsctl.cli.migrating import FromOption, Shared, Stores, ToOption, run_migration, shared_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opsctl.cli.migrating import After
    from opsctl.jobs.qdrant_compare import Compared, PointSink, PointSource
    from opsctl.jobs.qdrant_points import PointsAsTheyAre
    from opsctl.model.cancel import Cancel
    from opsctl.model.errors import ExitCode
    from opsctl.model.migrate import Receipt
    from opsctl.model.migrate_shown import Action
    from opsctl.model.qdrant_collection import CollectionSpec

NAME = "qdrant-to-cloud"


def qdrant_to_cloud(
    ctx: typer.Context,
    from_: FromOption,
    to: ToOption,
    shared: Shared,
    collections: Annotated[
        list[str] | None,
        typer.Option("--collection", metavar="NAME", help="This one, by its name or an alias; repeatable. Else all."),
    ] = None,
    as_name: Annotated[
        str, typer.Option("--as", metavar="NAME", help="What the one collection is called there; else as here.")
    ] = "",
    switch: Annotated[
        list[str] | None,
        typer.Option("--switch", metavar="SERVICE", help="Send this service to the target then; repeatable."),
    ] = None,
    stop: Annotated[
        str, typer.Option("--stop", metavar="SERVICE", help="--switch: the old Qdrant's service, stopped last.")
    ] = "",
    service_url: Annotated[
        str, typer.Option("--service-url", metavar="URL", help="--switch: the target as the services see it.")
    ] = "",
    proof: Annotated[
        str, typer.Option("--proof", metavar="TEXT", help="--switch: what they log once they have reached it.")
    ] = "Qdrant Cloud client initialized",
) -> None:
    """Copy collections to another Qdrant server, point by point, verified.

    Settings, payload indexes and aliases come along, and every vector: named,
    sparse, multi. Each point is read back and compared bit by bit. --from may
    be the folder of a client in local mode. What the target decides otherwise
    is named first: look with --dry-run. With --switch the services stop, what
    has changed is copied, their env files get QDRANT_URL, QDRANT_API_KEY and
    QDRANT_COLLECTION, they start again, and the old Qdrant is stopped last.
    """
    from opsctl.model.errors import UsageError

    wanted = tuple(dict.fromkeys(collections or ()))
    if as_name and len(wanted) != 1:
        raise UsageError(
            "--as names one collection",
            why=f"--collection names {len(wanted) or 'none'}",
            next="--collection NAME --as NAME",
        )
    renamed = {wanted[0]: as_name} if as_name else {}
    sides = _Sides(from_, to, shared, wanted, renamed)
    options = {"collections": ", ".join(wanted) or "all"} | ({"as": as_name} if as_name else {})
    context = shared.context(ctx)

    def told(_stores: Stores, action: Action, receipt: Receipt) -> tuple[str, ...]:
        if action != "run":
            return ()
        more = f"to send a service there: {context.command_line} --switch SERVICE"
        return (*sides.compared(context.cancel), *((more,) if receipt.outcome == "complete" and not switch else ()))

    def copy(after: After | None) -> ExitCode:
        from opsctl.jobs.qdrant_points import SUITING

        return run_migration(
            context,
            NAME,
            source=sides.source,
            transform=sides.transform,
            sink=sides.sink,
            options=options,
            shared=shared,
            after=after or told,
            suiting=SUITING,
        )

    if not switch:
        raise typer.Exit(copy(None))
    from opsctl.cli.qdrant_switch import Switch, Wanted

    services = tuple(dict.fromkeys(switch))
    called = as_name or (wanted[0] if len(wanted) == 1 else "")
    asked = Wanted(services, stop, service_url, called, proof, from_, to)
    raise typer.Exit(Switch(context, shared, asked, copy, lambda: sides.proved(context.cancel)).run())


class _Sides:
    """Both ends, built when the stores can be reached. An alias of the source is the collection it stands for."""

    def __init__(
        self, from_: str, to: str, shared: Shared, wanted: tuple[str, ...], renamed: Mapping[str, str]
    ) -> None:
        self._from, self._to, self._shared = from_, to, shared
        self._wanted, self._renamed = wanted, renamed
        self._source: PointSource
        self._sink: PointSink

    def source(self, stores: Stores) -> PointSource:
        """The server or folder that the points come from."""
        from opsctl.cli.stores import qdrant_source

        target = stores.target(self._from, ("qdrant",), flag="--from", via=self._shared.from_via)
        self._source = qdrant_source(target, self._wanted)
        return self._source

    def transform(self, stores: Stores) -> PointsAsTheyAre:
        """Nothing changes but, perhaps, the name of the collection."""
        from opsctl.jobs.qdrant_points import PointsAsTheyAre

        return PointsAsTheyAre(self._names)

    def sink(self, stores: Stores) -> PointSink:
        """The server that they go to."""
        from opsctl.cli.stores import qdrant_sink
        from opsctl.model.errors import UsageError

        target = stores.target(self._to, ("qdrant",), flag="--to", via=self._shared.to_via)
        if "://" not in target.url.reveal():
            raise UsageError(
                f"--to: {target.shown} is a folder", why="it has to be a server", next="--to https://…:6333"
            )
        if target.identity == stores.targets["--from"].identity and not self._renamed:
            raise UsageError(
                f"--from and --to are the same server, {target.shown}", next="--collection NAME --as ANOTHER"
            )
        self._sink = qdrant_sink(target, self._specs)
        return self._sink

    def compared(self, cancel: Cancel) -> tuple[str, ...]:
        """Counts and some content of both sides, in words."""
        return tuple(str(each) for each in self._compare(cancel))

    def proved(self, cancel: Cancel) -> tuple[str, ...]:
        """The same, where both sides have the same. Raises GateFailed where not."""
        from opsctl.jobs.qdrant_compare import demand

        found = self._compare(cancel)
        demand(found, "opsctl migrate resume last   (copies what has changed)")
        return tuple(str(each) for each in found)

    def _compare(self, cancel: Cancel) -> tuple[Compared, ...]:
        from opsctl.jobs.qdrant_compare import compare
        from opsctl.jobs.qdrant_points import PointsAsTheyAre

        transform = PointsAsTheyAre(self._names)
        return compare(self._source, self._sink, lambda records: transform.outline(records, {}, cancel), cancel)

    def _names(self, cancel: Cancel) -> Mapping[str, str]:
        """How collections are called there, by their names here."""
        if not self._renamed:
            return {}
        (new,) = self._renamed.values()
        return dict.fromkeys(self._source.specs(cancel), new)

    def _specs(self, cancel: Cancel) -> Mapping[str, CollectionSpec]:
        from dataclasses import replace

        names = self._names(cancel)
        found = self._source.specs(cancel)
        return {names.get(name, name): replace(each, name=names.get(name, name)) for name, each in found.items()}


def register(group: typer.Typer) -> None:
    """Add the command to the group."""
    group.command(NAME)(shared_options(qdrant_to_cloud))
