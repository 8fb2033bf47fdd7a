"""The receipt of a run: counts, both checksums over everything that is verified, and how it ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from opsctl.jobs.migrate_tally import utc
from opsctl.model.checksum import Checksum
from opsctl.model.errors import Interrupted, OpsError
from opsctl.model.jsonable import to_jsonable
from opsctl.model.migrate import Counts, Described, Entry, Receipt, State
from opsctl.model.migrate_run import Migration
from opsctl.spine import runfiles
from opsctl.spine.ledger import Ledger
from opsctl.spine.ledger_file import DiskFull


@dataclass(frozen=True)
class Sides:
    """Both stores as they were found when the run began, and what the transform says of itself."""

    source: Described
    sink: Described
    transform: Mapping[str, Any]
    started: str = field(default_factory=utc)
    told: bool = True  # their notes go into the receipt's: they are about a copy, not about what comes after it


def look(m: Migration) -> Sides:
    """Connect to both. Raises UnreachableError, ConfigError."""
    return Sides(m.source.describe(m.cancel), m.sink.describe(m.cancel), m.transform.describe())


def later(m: Migration) -> Sides:
    """As `look`, for what comes after the copy."""
    return replace(look(m), told=False)


def checksums(ledger: Ledger, lost: Iterable[tuple[Entry, bytes | None]] = ()) -> tuple[Checksum, Checksum]:
    """Of what was to be stored and of what was read back; `lost` is what was found missing or other since."""
    wanted, stored = Checksum(), Checksum()
    for chunk in ledger.proofs(State.VERIFIED, State.FINISHED):
        equal = Checksum()
        equal.add_all([(key, item) for key, item, read in chunk if item == read])
        for key, item, read in chunk:
            if item != read:
                wanted.add(key, item)
                stored.add(key, read)
        wanted.merge(equal)
        stored.merge(equal)
    for each, found in lost:
        wanted.add(each.key, each.item_digest)
        if found is not None:
            stored.add(each.key, found)
    return wanted, stored


def write(
    m: Migration,
    sides: Sides,
    outcome: str,
    counts: Counts,
    sums: tuple[Checksum, Checksum],
    notes: Iterable[str] = (),
    left: Mapping[str, int] | None = None,
) -> Receipt:
    """Make it and put it down whole, under its own name and, as the newest, as receipt.json. Raises DiskFull."""
    wanted, stored = sums
    receipt = Receipt(
        run_id=m.run_id,
        migration=m.name,
        started=sides.started,
        ended=utc(),
        outcome=outcome,
        source=sides.source,
        sink=sides.sink,
        transform=sides.transform,
        counts=counts,
        verified_total=stored.count,
        wanted_checksum=wanted.hex(),
        stored_checksum=stored.hex(),
        export=str(m.export),
        quarantine=str(m.quarantine),
        notes=(*((*sides.source.notes, *sides.sink.notes) if sides.told else ()), *notes),
        left=left or {},
    )
    put_down(m, receipt)
    return receipt


def put_down(m: Migration, receipt: Receipt) -> None:
    """Both files of a receipt. Raises DiskFull, OpsError."""
    document = to_jsonable(receipt)
    runfiles.replace(m.folder / f"receipt-{receipt.outcome}.json", document)
    runfiles.replace(m.receipt, document)


def failed(m: Migration, sides: Sides, counts: Counts, error: BaseException) -> BaseException:
    """Leave a receipt of a run that an error ended, if that can be; the error as it is to be raised."""
    none = (Checksum(), Checksum())
    why = error.info.what if isinstance(error, OpsError) else f"{type(error).__name__}: {error}"
    with suppress(OpsError):  # on a full disk the error itself says it
        write(m, sides, "failed", counts, none, (f"ended by: {why}", "the checksums of a failed run are of nothing"))
    if isinstance(error, DiskFull):
        info = error.info
        where = info.what.rpartition(" ")[2]
        return DiskFull(
            info.what, why=info.why, next=f"make room (df -h {where}), then: opsctl migrate resume {m.run_id}"
        )
    return error


def stopped(m: Migration, receipt: Receipt) -> Interrupted:
    """The error that ends a run that was asked to stop, with how to go on."""
    counts = receipt.counts
    far = f"{counts.verified:,} verified, {counts.unchanged:,} unchanged, {counts.quarantined:,} in quarantine"
    return Interrupted(
        f"{m.run_id} was stopped; what was under way is done",
        signum=m.cancel.signum,
        why=f"{far} so far",
        next=f"opsctl migrate resume {m.run_id}",
    )


def merged(first: Counts, second: Counts) -> Counts:
    """The counts of a copy and of the finish that followed it."""
    return replace(
        first,
        quarantined=first.quarantined + second.quarantined,
        vanished=first.vanished + second.vanished,
        removed=second.removed,
        changed=second.changed,
        reasons=dict(Counter(first.reasons) + Counter(second.reasons)),
    )
