"""What a run that was killed had written down and not settled: its export tells the ledger, before anybody goes on."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from opsctl.jobs.migrate_lines import Exported, exported
from opsctl.model.errors import ConfigError
from opsctl.model.migrate import Entry, State
from opsctl.model.migrate_run import Cipher
from opsctl.spine import runfiles
from opsctl.spine.ledger import Exporting, Ledger, Row
from opsctl.spine.run_folder import every

_AT_ONCE = 1_000  # lines


def recover(ledger: Ledger, cipher: Cipher | None) -> None:
    """Each line beyond what is settled may have been written to the sink: its id and group are kept, as SEEN."""
    for each in ledger.exports():
        _from(ledger, each, cipher)


def relearn(ledger: Path, cipher: Cipher | None, root: Path | None = None) -> int:
    """Tell a ledger that was lost which runs there were, so that their exports are read again; how many.

    What they wrote is known then: a record whose own day changed since is taken from its old group. The caller holds
    the ledger's lock. An export that cannot be opened any more is left out: nothing depends on it.
    """
    if ledger.exists():
        return 0
    found = 0
    for folder in reversed(every(root)):
        record, export = folder.record(), folder.path / "export.jsonl"
        if record is not None and record.ledger == str(ledger) and _opens(export, cipher):
            Ledger(ledger, record.run_id, export).close()
            found += 1
    return found


def _opens(export: Path, cipher: Cipher | None) -> bool:
    first = next(runfiles.read(export), None)
    if first is None:
        return False
    try:
        exported(first[1], cipher)
    except ConfigError:
        return False
    return True


def _from(ledger: Ledger, export: Exporting, cipher: Cipher | None) -> None:
    lines: list[Exported] = []
    end = export.settled
    for begin, line in runfiles.read(export.export, export.settled):
        lines.append(replace(exported(line, cipher), dumped={}))  # a value may be large
        end = begin + len(line)
        if len(lines) >= _AT_ONCE:
            _keep(ledger, export.run, lines, end)
            lines = []
    if end > export.settled:
        _keep(ledger, export.run, lines, end)


def _keep(ledger: Ledger, run: str, lines: Sequence[Exported], end: int) -> None:
    newest = {line.key: line for line in lines if line.item is not None}
    known = ledger.entries(list(newest))
    rows = [_row(line, known.get(key)) for key, line in newest.items() if not _proved(line, known.get(key))]
    ledger.put(rows, known, settled=end, run=run)


def _proved(line: Exported, row: Entry | None) -> bool:
    """Whether the ledger has it already: batches are settled in another order than they are written down."""
    return row is not None and line.item == (row.id, row.group, row.item_digest) and row.source_digest == line.digest


def _row(line: Exported, row: Entry | None) -> Row:
    assert line.item is not None
    identity, group, item = line.item
    day = row.day if row is not None and row.day else line.day
    return line.key, State.SEEN, line.digest, item, b"", identity, group, day


class Marks:
    """Which parts of the export are under way: everything before the first of them is settled."""

    def __init__(self) -> None:
        self._open: dict[int, int] = {}  # where a part begins → batches of it that are not settled
        self._lock = threading.Lock()

    def begin(self, at: int, batches: int) -> None:
        """So many batches are written down from there on."""
        with self._lock:
            self._open[at] = self._open.get(at, 0) + batches

    def end(self, at: int) -> None:
        """One of them is settled."""
        with self._lock:
            self._open[at] -= 1
            if not self._open[at]:
                del self._open[at]

    def settled(self, size: int) -> int:
        """Up to where everything is; `size` is the export's, asked for before."""
        with self._lock:
            return min(self._open, default=size)
