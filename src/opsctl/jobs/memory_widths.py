"""Vectors that all have the wrong width are a wrong collection, not so many bad items: seen before the first write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from opsctl.jobs.memory_items import MemoryItems
from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError
from opsctl.model.migrate import Described, DumpsText, Estimate, Record, Rejected, Removal, Source


class Looked:
    """A source whose first records are looked at before anybody gets them.

    A rerun hands only what is left to the sink, which may well be nothing but bad ones: the source has all.
    """

    def __init__(self, source: Source, transform: MemoryItems) -> None:
        self._source = source
        self._transform = transform
        self._dump_text = source.dump_text if isinstance(source, DumpsText) else None

    def scan(self, batch: int, cancel: Cancel) -> Iterator[Sequence[Record]]:
        """As the source's. Raises ConfigError where no vector of the first records fits."""
        first = True
        for records in self._source.scan(batch, cancel):
            if first:
                self._look(records, cancel)
                first = False
            yield records

    def _look(self, records: Sequence[Record], cancel: Cancel) -> None:
        made = self._transform.outline(records, {}, cancel)
        wrong = [each for each in made if isinstance(each, Rejected) and each.code == "width"]
        if wrong and not any(not isinstance(each, Rejected) for each in made):
            raise ConfigError(
                "the vectors of the items do not fit, and nothing was written",
                why=wrong[0].reason,
                next="opsctl migrate dragonfly-to-weaviate --vector NAME   (one of that width, or --vectors minilm)",
            )

    def describe(self, cancel: Cancel) -> Described:
        """As the source's."""
        return self._source.describe(cancel)

    def estimate(self, cancel: Cancel) -> Estimate:
        """As the source's."""
        return self._source.estimate(cancel)

    def fetch(self, keys: Sequence[bytes], cancel: Cancel) -> Sequence[Record | None]:
        """As the source's."""
        return self._source.fetch(keys, cancel)

    def remove(self, seen: Sequence[tuple[bytes, bytes]], cancel: Cancel) -> Sequence[Removal]:
        """As the source's."""
        return self._source.remove(seen, cancel)

    def dump(self, record: Record) -> Mapping[str, Any]:
        """As the source's."""
        return self._source.dump(record)

    def dump_text(self, record: Record) -> str | None:
        """As the source's, which without one leaves it to `dump`."""
        return self._dump_text(record) if self._dump_text is not None else None

    def restore(self, dumped: Sequence[Mapping[str, Any]], cancel: Cancel) -> Sequence[str]:
        """As the source's."""
        return self._source.restore(dumped, cancel)

    def close(self) -> None:
        """As the source's."""
        self._source.close()
