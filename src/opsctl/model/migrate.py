"""The contract of a migration: records come from a source, are transformed, go into a sink, and are proved there.

The engine (`jobs/migrate_engine.py`) knows these protocols and no product. Whoever adds a store implements `Source`
or `Sink` in `stores/`, a `Transform` in `jobs/`, and adds a line to the registry: nothing here changes.

What each side must promise, so that a kill at any moment neither loses nor doubles anything:

- ids are a function of the record's key alone: writing the same record twice leaves one object;
- `Sink.write` may be repeated, and `Sink.read` sees what was written (no "queued" answers);
- `Source.remove` deletes a record only if it still is, byte for byte, the one whose digest is given;
- the ledger makes a rerun cheap; a run without it is slower and leads to the same end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple, Protocol, runtime_checkable

from opsctl.model.cancel import Cancel

DIGEST_SIZE = 16  # bytes
_JOINED = 65_536  # bytes: smaller ones are copied once more, which costs less than another call


def digest(*parts: bytes) -> bytes:
    """BLAKE2b of length-prefixed parts, 16 bytes: no two lists of parts collide by where they are cut."""
    if len(parts) == 1 and len(parts[0]) < _JOINED:
        return hashlib.blake2b(len(parts[0]).to_bytes(8, "big") + parts[0], digest_size=DIGEST_SIZE).digest()
    state = hashlib.blake2b(digest_size=DIGEST_SIZE)
    for part in parts:
        state.update(len(part).to_bytes(8, "big"))
        state.update(part)
    return state.digest()


class Record(NamedTuple):
    """One thing as the source has it. `value` is the source's own shape; `digest` stands for key's whole content.

    The digest covers type and value, never the TTL: a sliding session is no other session a second later.
    `ttl` in seconds, None without one. `size` in bytes as stored. `fault` says why it cannot be migrated as it is
    (too large, of a type nobody reads): it goes to quarantine with that reason, counted under `fault_code`.
    """

    key: bytes
    value: Any
    digest: bytes
    size: int
    kind: str = ""  # string, hash, point, file entry … as the source calls it
    ttl: float | None = None
    fault: str = ""
    fault_code: str = "unreadable"


class Item(NamedTuple):
    """One thing as the sink will have it. `digest` is of exactly what `Sink.read` gives back once it is stored.

    `group` is where it goes inside the sink: a tenant, a table; "" where there is one place. `size` in bytes.
    `undated` says that nothing in the record tells its group, which therefore comes from `days`; body and digest must
    not depend on it. The group it already has, by the ledger or by `Sink.locate`, then replaces the one it says.
    """

    key: bytes
    id: str
    body: Any
    digest: bytes
    size: int
    group: str = ""
    undated: bool = False


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that a transform or a sink does not take, and why. Goes to quarantine; never stops the run."""

    key: bytes
    reason: str
    code: str = "refused"  # short and constant, for counting: unparsable, too-large, wrong-type, width, refused …


class Removal(StrEnum):
    """What became of a compare-and-delete."""

    REMOVED = "removed"
    CHANGED = "changed"  # it is another one by now, and was left alone
    GONE = "gone"  # somebody else removed it, or it expired


@dataclass(frozen=True)
class Described:
    """Which server (or file) one side is. Never holds a secret."""

    product: str  # Redis, Valkey, Dragonfly, Weaviate, Qdrant, PostgreSQL, file
    version: str
    address: str  # host:port/db or a path, for people
    identity: str  # stable and secret-free: the same store gives the same identity from everywhere it can tell
    notes: tuple[str, ...] = ()  # what people should know: persistence off, eviction policy, TTLs …


@dataclass(frozen=True)
class Estimate:
    """How much there is, as far as it can be had cheaply; None is not known."""

    records: int | None
    bytes: int | None = None


class Source(Protocol):
    """Where records come from. One thread scans; `fetch`, `remove` and `restore` come from any thread."""

    def describe(self, cancel: Cancel) -> Described:
        """Connect if need be. Raises UnreachableError, ConfigError."""
        ...

    def estimate(self, cancel: Cancel) -> Estimate:
        """How much a scan would give, cheaply."""
        ...

    def scan(self, batch: int, cancel: Cancel) -> Iterator[Sequence[Record]]:
        """Every record that is there throughout, in batches of about `batch`; some may come twice.

        Reads are retried over a short outage; raises UnreachableError when the source stays away.
        """
        ...

    def fetch(self, keys: Sequence[bytes], cancel: Cancel) -> Sequence[Record | None]:
        """These records as they are now, in order; None for one that is gone."""
        ...

    def remove(self, seen: Sequence[tuple[bytes, bytes]], cancel: Cancel) -> Sequence[Removal]:
        """Compare-and-delete of (key, digest), atomic for each key, in order."""
        ...

    def dump(self, record: Record) -> Mapping[str, Any]:
        """The record as JSON that `restore` can make whole again (binary as base64, TTL as the time it ends)."""
        ...

    def restore(self, dumped: Sequence[Mapping[str, Any]], cancel: Cancel) -> Sequence[str]:
        """Put records back where none is now, TTLs kept; for each `restored`, `there` (the same), `differs` (another
        one is there and was left alone) or `expired`."""
        ...

    def close(self) -> None:
        """End it; safe to call twice."""
        ...


class Sink(Protocol):
    """Where items go. Its methods come from several threads at once."""

    def describe(self, cancel: Cancel) -> Described:
        """Connect if need be. Raises UnreachableError, ConfigError (what it lacks and how it is made)."""
        ...

    def check(self, sample: Sequence[Item], cancel: Cancel) -> Sequence[str]:
        """What stands against writing items like these, in words (width mismatch, missing table …); writes nothing."""
        ...

    def prepare(self, groups: Iterable[str], cancel: Cancel) -> None:
        """Make the groups that are missing, wake those at rest. Safe to repeat, called before each batch; cache it."""
        ...

    def write(self, items: Sequence[Item], cancel: Cancel) -> Sequence[Rejected]:
        """Upsert; the items it refused, each with the server's own words. Retries what is transient, itself."""
        ...

    def read(self, items: Sequence[Item], cancel: Cancel) -> Sequence[bytes | None]:
        """The digest of what is stored under each item's id and group now, in order; None where nothing is.

        Nothing else of an item may matter: `finish` and a rerun ask with items that have no body.
        """
        ...

    def locate(self, ids: Sequence[str], cancel: Cancel) -> Mapping[str, str]:
        """The group each id is in, for ids that are in one; for records whose group cannot be told from themselves."""
        ...

    def remove(self, written: Sequence[tuple[str, str, bytes]], cancel: Cancel) -> Sequence[Removal]:
        """Take back (id, group, digest) if it still is what was written. For rollback."""
        ...

    def close(self) -> None:
        """End it; safe to call twice."""
        ...


class Transform(Protocol):
    """Turns records into items: parse, route, embed. CPU-bound; called from as many threads as `workers` says."""

    workers: int

    def describe(self) -> Mapping[str, Any]:
        """What the receipt should say of it: model, width, mapping; `ttl` is a sentence on what becomes of TTLs."""
        ...

    def apply(self, records: Sequence[Record], days: Mapping[bytes, str], cancel: Cancel) -> Sequence[Item | Rejected]:
        """One result a record, in order. `days` has, for each key, the day (yyyymmdd, UTC) of its first sight."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


@runtime_checkable
class DumpsText(Protocol):
    """What a source may have besides, whose records are many and small."""

    def dump_text(self, record: Record) -> str | None:
        """What `dump` gives, as compact JSON in ASCII, or None where `dump` has to do it."""
        ...


@runtime_checkable
class ChoosesIds(Protocol):
    """What a transform has besides, whose ids may come from a value and not from the key."""

    @property
    def chooses_ids(self) -> bool:
        """Whether they do: then two records may claim one id."""
        ...


@runtime_checkable
class Outlines(Protocol):
    """What a transform whose `apply` is dear (it embeds) should have besides, so that a dry run can see everything."""

    def outline(
        self, records: Sequence[Record], days: Mapping[bytes, str], cancel: Cancel
    ) -> Sequence[Item | Rejected]:
        """As `apply`, with the same groups and rejections, but without the dear part: body and digest may be empty."""
        ...


class State(IntEnum):
    """Where a key stands in the ledger."""

    SEEN = 0  # exported, with the id and group it is to have; nothing known of the sink
    VERIFIED = 1  # written, read back, equal
    QUARANTINED = 2
    FINISHED = 3  # verified, and removed from the source
    ROLLED_BACK = 4


class Entry(NamedTuple):
    """A key's row in the ledger. `stored_digest` is what was read back, `run` is who exported and wrote it, `row` its
    number."""

    key: bytes
    state: State
    source_digest: bytes
    item_digest: bytes = b""
    id: str = ""
    group: str = ""
    day: str = ""  # of its first sight, UTC, yyyymmdd
    stored_digest: bytes = b""
    run: str = ""
    row: int = 0


@dataclass(frozen=True)
class Limits:
    """How hard a run may push. Nothing set is no limit."""

    batch: int = 256
    writers: int = 2
    queue: int = 4  # batches waiting between two stages
    rate: float | None = None  # records a second
    window: tuple[int, int] | None = None  # minutes of the day, local time of where it runs; may go over midnight
    most: int | None = None  # records, for a try


@dataclass(frozen=True)
class Counts:
    """What a run did, in records."""

    scanned: int = 0
    unchanged: int = 0  # verified before and the same still: nothing was written
    verified: int = 0  # written, read back and equal, by this run
    quarantined: int = 0
    vanished: int = 0  # expired or deleted at the source while the run worked
    removed: int = 0
    changed: int = 0  # at the source since it was read: not removed, the next run copies it again
    bytes: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)  # code of a rejection → how many


@dataclass(frozen=True)
class Receipt:
    """What a run proved. The two checksums are equal exactly when what was to be written is what was read back.

    They are over `verified_total` keys: all that the ledger has as verified, whichever run copied them.
    """

    run_id: str
    migration: str
    started: str  # UTC, ISO 8601
    ended: str
    outcome: str  # complete, partial (some in quarantine), stopped, failed, finished, rolled-back
    source: Described
    sink: Described
    transform: Mapping[str, Any]
    counts: Counts
    wanted_checksum: str
    stored_checksum: str
    export: str  # path of the file that a rollback reads
    quarantine: str
    verified_total: int = 0
    notes: tuple[str, ...] = ()
    left: Mapping[str, int] = field(default_factory=dict)  # of a rollback: what is at the sink still, by who wrote it


@dataclass(frozen=True)
class Progress:
    """How far a run is; seconds and records a second."""

    run_id: str
    state: str  # running, paused, waiting (outside its window), draining, ended
    counts: Counts
    total: int | None
    rate: float
    eta: float | None
    note: str = ""
