"""One run of a migration as it is handed to the engine, and what a dry run of it found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from opsctl.model.cancel import Cancel
from opsctl.model.migrate import Described, Limits, Progress, Sink, Source, Transform

SEALED = b'{"sealed":'  # how a line of an encrypted export begins


class Cipher(Protocol):
    """Encrypts an export line by line; from several threads at once."""

    def seal(self, line: bytes) -> bytes:
        """The line, for nobody without the key; it begins with SEALED and has no line break."""
        ...

    def open(self, line: bytes) -> bytes:
        """What was sealed. Raises ConfigError where another key did it."""
        ...


@dataclass(frozen=True)
class Migration:
    """Everything one run needs; no product is known here.

    `folder` is the run's own: run.json (written by whoever starts it), export.jsonl, quarantine.jsonl, receipt.json,
    progress.json, control; with a `cipher` what is exported is encrypted. `ledger` is shared by all runs with the same
    name, stores and shaping options. `report` is called about twice a second, by the thread that called. `options` are
    secret-free.
    """

    name: str
    run_id: str
    source: Source
    transform: Transform
    sink: Sink
    folder: Path
    ledger: Path
    limits: Limits
    cancel: Cancel
    report: Callable[[Progress], None]
    options: Mapping[str, str] = field(default_factory=dict)
    cipher: Cipher | None = None

    @property
    def seal(self) -> Callable[[bytes], bytes] | None:
        """What a line of the export goes through on its way to the disk."""
        return self.cipher.seal if self.cipher is not None else None

    @property
    def export(self) -> Path:
        """Every record before it was written to the sink, one JSON object a line; what a rollback reads."""
        return self.folder / "export.jsonl"

    @property
    def quarantine(self) -> Path:
        """Every record that was not taken, with the reason; what a replay reads."""
        return self.folder / "quarantine.jsonl"

    @property
    def receipt(self) -> Path:
        """What the newest part of the run proved."""
        return self.folder / "receipt.json"

    @property
    def progress(self) -> Path:
        """How far it is, rewritten about once a second."""
        return self.folder / "progress.json"

    @property
    def control(self) -> Path:
        """Holds `pause` or `run`; none is `run`."""
        return self.folder / "control"


@dataclass(frozen=True)
class Refusal:
    """One kind of rejection in a dry run: how many, and a few of them with key and reason."""

    code: str
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Expiry:
    """The TTLs among the records, seconds; `promise` is what the migration does about them."""

    count: int
    shortest: float | None
    longest: float | None
    promise: str


@dataclass(frozen=True)
class Foreseen:
    """What a dry run of `finish` or `rollback` found. It wrote nothing.

    At the source, of a finish: `delete`, `changed` since and kept, `gone` already, `lost` at the sink and kept. Of a
    rollback: `restore`, `there` still, `changed` and left alone. At the sink, of a rollback: `remove`, `changed` and
    left alone, `gone`. `left`: what other runs wrote there and this one's rollback leaves, by run.
    """

    action: Literal["finish", "rollback"]
    records: int
    source: Mapping[str, int]
    sink: Mapping[str, int] = field(default_factory=dict)
    left: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Preview:
    """What a dry run found. It wrote nothing; what could only be estimated is named in `notes`.

    `records` and `bytes` are those of the scan, `work` are the records that a run would write. `groups` are the
    largest ones, of `group_count`. `eta` in seconds, None where no rate could be measured; `sampled` records were
    transformed for it.
    """

    run_id: str
    migration: str
    source: Described
    sink: Described
    transform: Mapping[str, object]
    records: int
    bytes: int
    unchanged: int
    work: int
    kinds: Mapping[str, int]
    groups: Mapping[str, int]
    group_count: int
    refusals: tuple[Refusal, ...]
    refused: int
    findings: tuple[str, ...]  # what the sink says against items like these
    expiry: Expiry
    scan_rate: float | None  # records a second
    transform_rate: float | None
    sampled: int
    eta: float | None
    notes: tuple[str, ...] = ()
