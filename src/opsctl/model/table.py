"""A table that hashes go into, as it was inferred: what a dry run shows of each column."""

from __future__ import annotations

from dataclasses import dataclass

from opsctl.model.rows import Column, TableShape


@dataclass(frozen=True)
class InferredColumn:
    """One column with its reason. `origin` is what decided: the key, the values, an option, the table that is there.

    `filled` of the sample's records have it; `examples` are values as they were read, `unfit` those that a chosen or
    existing type does not take. `empty` texts become NULL where the type is another than text.
    """

    name: str
    field: str  # of the hash; "" for the key of the record itself
    type: str
    origin: str
    filled: int = 0
    empty: int = 0
    examples: tuple[str, ...] = ()
    unfit: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class InferredTable:
    """The table, and how many records it was inferred from."""

    name: str
    columns: tuple[InferredColumn, ...]  # the first is the key
    sampled: int
    exists: bool

    @property
    def shape(self) -> TableShape:
        """Names and types alone."""
        return TableShape(self.name, tuple(Column(each.name, each.type) for each in self.columns))
