"""What a run that was killed had written down and not settled: its export tells the ledger, before anybody goes on."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

from opsctl.jobs.migrate_lines import Exported, exported
from opsctl.model.migrate import Entry, State
from opsctl.model.migrate_run import Cipher
from opsctl.spine import runfiles
from opsctl.spine.ledger import Exporting, Ledger, Row

_AT_ONCE = 1_000  # lines


def recover(ledger: Ledger, cipher: Cipher | None) -> None:
    """Each line beyond what is settled may have been written to the sink: its id and group are kept, as SEEN."""
    for each in ledger.exports():
        _from(ledger, each, cipher)


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
