"""The stages between reading and settling: transform, write down, write to the sink and read back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from opsctl.jobs.migrate_batch import Batch
from opsctl.jobs.migrate_flow import Channel
from opsctl.jobs.migrate_lines import export_lines
from opsctl.jobs.migrate_recover import Marks
from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError
from opsctl.model.migrate import Entry, Item, Record, Rejected, Sink, Source, Transform
from opsctl.spine.runfiles import Lines

AT_ONCE = 8  # batches that are written down with one sync
_OTHER = "what was read back is not what was written"
ATTEMPTS = 3  # writes of an item that reads back as another
PAUSE = 0.2  # seconds before such an item is written again


@dataclass
class Transforming:
    """Records become items or rejections; a record without a day of its own keeps the group it has already."""

    transform: Transform
    sink: Sink
    into: Channel[Batch]
    out: Channel[Batch]
    cancel: Cancel

    def run(self) -> None:
        """Until the channel ends."""
        try:
            for batch in self.into.each(self.cancel):
                self._apply(batch)
                self.out.put(batch, self.cancel)
        finally:
            self.out.done()

    def _apply(self, batch: Batch) -> None:
        sound = [record for record in batch.records if not record.fault]
        batch.refused += [
            (record, Rejected(record.key, record.fault, record.fault_code)) for record in batch.records if record.fault
        ]
        results = self.transform.apply(sound, batch.days(sound), self.cancel) if sound else ()
        both = list(zip(sound, results, strict=True))
        batch.refused += [(record, result) for record, result in both if isinstance(result, Rejected)]
        batch.pairs = [(record, result) for record, result in both if not isinstance(result, Rejected)]
        if any(item.undated for _record, item in batch.pairs):
            self._place(batch)

    def _place(self, batch: Batch) -> None:
        """The group by the ledger, else where the sink has it, else the one of the day it was first seen."""
        there = {key: row.group for key, row in batch.known.items() if row.group}
        unknown = [item.id for _record, item in batch.pairs if item.undated and item.key not in there]
        found = self.sink.locate(unknown, self.cancel) if unknown else {}

        def placed(item: Item) -> Item:
            group = there.get(item.key) or found.get(item.id) if item.undated else None
            return item if group is None or group == item.group else item._replace(group=group)

        batch.pairs = [(record, placed(item)) for record, item in batch.pairs]


@dataclass
class WritingDown:
    """One thread: what is about to be written goes to the export, synced, before the sink. A kill leaves it there."""

    source: Source
    sink: Sink
    export: Lines
    marks: Marks
    into: Channel[Batch]
    out: Channel[Batch]
    cancel: Cancel
    checked: bool = False

    def run(self) -> None:
        """Until the channel ends. Raises ConfigError when the sink says that it does not take items like these."""
        try:
            while batches := self.into.take(AT_ONCE, self.cancel):
                self._write_down(batches)
                for batch in batches:
                    self.out.put(batch, self.cancel)
        finally:
            self.out.done()

    def _write_down(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            self._check([item for _record, item in batch.pairs])
            self._leave_old_groups(batch)
            batch.part = self.export.size
        self.marks.begin(self.export.size, len(batches))
        self.export.append(line for batch in batches for line in self._lines(batch))

    def _lines(self, batch: Batch) -> list[bytes]:
        days = batch.days(record for record, _item in batch.pairs)
        return export_lines(self.source, [(record, item, days[record.key]) for record, item in batch.pairs])

    def _check(self, items: Sequence[Item]) -> None:
        """Ask the sink about the first items there are, before anything is written."""
        if self.checked or not items:
            return
        self.checked = True
        findings = self.sink.check(items, self.cancel)
        if findings:
            raise ConfigError(
                "the sink does not take items like these, and nothing was written",
                why="; ".join(findings),
                next="the same command with --dry-run shows all that stands against it",
                code="sink-refuses",
            )

    def _leave_old_groups(self, batch: Batch) -> None:
        """A record whose own day changed is taken from its old group first: its newest state is here in our hands."""
        if not batch.known:
            return
        moved = [
            (row.id, row.group, row.item_digest)
            for _record, item in batch.pairs
            if (row := batch.known.get(item.key)) is not None and row.id and _elsewhere(row, item)
        ]
        if moved:
            self.sink.remove(moved, self.cancel)


def _elsewhere(row: Entry, item: Item) -> bool:
    return (row.id, row.group) != (item.id, item.group)


@dataclass
class Writing:
    """Prepare, write, read back, compare. What differs or is refused gets more tries, then quarantine."""

    sink: Sink
    into: Channel[Batch]
    out: Channel[Batch]
    cancel: Cancel

    def run(self) -> None:
        """Until the channel ends."""
        try:
            for batch in self.into.each(self.cancel):
                if batch.pairs:
                    self._settle(batch)
                self.out.put(batch, self.cancel)
        finally:
            self.out.done()

    def _settle(self, batch: Batch) -> None:
        records = {item.key: record for record, item in batch.pairs}
        left = [item for _record, item in batch.pairs]
        for attempt in range(ATTEMPTS):
            if attempt and self.cancel.wait(PAUSE * attempt):
                self.cancel.check()
            left = self._write(batch, records, left)
            left = self._compare(batch, records, left)
            if not left:
                return
        for item in left:
            self._refuse(batch, records, item, Rejected(item.key, _OTHER, "mismatch"))

    @staticmethod
    def _refuse(batch: Batch, records: dict[bytes, Record], item: Item, why: Rejected) -> None:
        batch.refused.append((records[item.key], why))
        batch.wrote[item.key] = item

    def _write(self, batch: Batch, records: dict[bytes, Record], items: Sequence[Item]) -> list[Item]:
        """Those that the sink took; one that it refuses in company and by itself goes to quarantine."""
        self.sink.prepare(dict.fromkeys(item.group for item in items), self.cancel)
        refused = {each.key for each in self.sink.write(items, self.cancel)}
        if not refused:
            return list(items)
        for item in items:
            if item.key in refused:
                self.cancel.check()
                again = self.sink.write((item,), self.cancel)
                if again:
                    self._refuse(batch, records, item, again[0])
                else:
                    refused.discard(item.key)
        return [item for item in items if item.key not in refused]

    def _compare(self, batch: Batch, records: dict[bytes, Record], items: Sequence[Item]) -> list[Item]:
        """Those that read back as something else."""
        if not items:
            return []
        back = list(zip(items, self.sink.read(items, self.cancel), strict=True))
        batch.verified += [(records[item.key], item, found) for item, found in back if found == item.digest]
        return [item for item, found in back if found != item.digest]
