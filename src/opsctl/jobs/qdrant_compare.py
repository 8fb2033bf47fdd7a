"""Both sides of a move of points, asked once more when it is over: exact counts, and the content of some points."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from opsctl.model.cancel import Cancel
from opsctl.model.errors import GateFailed
from opsctl.model.migrate import Item, Record, Sink, Source
from opsctl.model.qdrant_collection import CollectionSpec

SAMPLE = 100  # points of each collection


class PointSource(Source, Protocol):
    """A source whose collections can be described, counted and sampled."""

    def specs(self, cancel: Cancel) -> Mapping[str, CollectionSpec]:
        """The collections by name. Raises UsageError for one that is not there."""
        ...

    def counts(self, cancel: Cancel) -> Mapping[str, int]:
        """Points by collection, exactly."""
        ...

    def sample(self, collection: str, number: int, cancel: Cancel) -> Sequence[Record]:
        """Some points, at random."""
        ...


class PointSink(Sink, Protocol):
    """A sink whose collections can be counted."""

    def counts(self, cancel: Cancel) -> Mapping[str, int]:
        """Points by collection, exactly."""
        ...


@dataclass(frozen=True)
class Compared:
    """One collection on both sides. `same` of `sampled` points had the same content."""

    name: str
    here: int
    there: int
    sampled: int
    same: int

    @property
    def held(self) -> bool:
        """Whether the target has at least as many, and all that were looked at the same."""
        return self.there >= self.here and self.same == self.sampled

    def __str__(self) -> str:
        more = f", {self.there - self.here:,} more than here" if self.there > self.here else ""
        return (
            f"{self.name}: {self.here:,} points here, {self.there:,} there{more};"
            f" {self.same} of {self.sampled} looked at again are the same"
        )


def compare(
    source: PointSource,
    sink: PointSink,
    items: Callable[[Sequence[Record]], Sequence[Item]],
    cancel: Cancel,
) -> tuple[Compared, ...]:
    """Every collection. A point that changed here since it was copied counts as not the same."""
    here, there, done = source.counts(cancel), sink.counts(cancel), []
    for name, number in here.items():
        chosen = items(source.sample(name, SAMPLE, cancel))
        found = sink.read(chosen, cancel)
        same = sum(each.digest == stored for each, stored in zip(chosen, found, strict=True))
        group = chosen[0].group if chosen else name
        done.append(Compared(group, number, there.get(group, 0), len(chosen), same))
    return tuple(done)


def demand(compared: Sequence[Compared], again: str) -> None:
    """Raise GateFailed unless everything is there."""
    if wrong := [str(each) for each in compared if not each.held]:
        raise GateFailed(
            wrong[0], why="something wrote here since it was copied, or took points away there", next=again
        )
