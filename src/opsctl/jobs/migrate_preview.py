"""A dry run: the whole source is looked at, a sample is transformed against the clock, and nothing is written."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from opsctl.jobs.migrate_batch import today
from opsctl.jobs.migrate_lines import shown
from opsctl.jobs.migrate_receipt import look
from opsctl.jobs.migrate_tally import Tally
from opsctl.model.migrate import Item, Outlines, Record, Rejected, State
from opsctl.model.migrate_run import Expiry, Migration, Preview, Refusal
from opsctl.spine.ledger import Peek

SAMPLE = 512  # records that are transformed against the clock, if they can be outlined besides
SECONDS = 30.0  # that transforming may take; one that is cheap has seen everything by then
GROUPS = 20  # that are named
MOST_GROUPS = 100_000  # that are counted apart
EXAMPLES = 3  # keys named for each kind of refusal
CHECKED = 256  # items that the sink is asked about


@dataclass
class _Look:
    m: Migration
    records: int = 0
    size: int = 0
    unchanged: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    groups: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    shortest: float | None = None  # TTL, seconds
    longest: float | None = None
    expiring: int = 0
    items: list[Item] = field(default_factory=list)
    sampled: int = 0
    seconds: float = 0.0  # that the sample took
    outlined: int = 0  # records whose group and refusal are known
    scanning: float = 0.0

    def scan(self, peek: Peek, tally: Tally) -> None:
        """Go through the source once."""
        m, begin, told = self.m, time.monotonic(), 0.0
        for records in m.source.scan(m.limits.batch, m.cancel):
            m.cancel.check()
            self.scanning = time.monotonic() - begin - self.seconds
            self._count(records)
            rows = peek.entries([record.key for record in records])
            work = [
                record
                for record in records
                if (row := rows.get(record.key)) is None
                or row.state is not State.VERIFIED
                or row.source_digest != record.digest
            ]
            self.unchanged += len(records) - len(work)
            self._transform(work, {key: row.day for key, row in rows.items() if row.day})
            tally.add(scanned=len(records))
            if time.monotonic() - told > 0.5:
                told = time.monotonic()
                m.report(tally.progress())
            if m.limits.most is not None and self.records - self.unchanged >= m.limits.most:
                break

    def _count(self, records: Sequence[Record]) -> None:
        self.records += len(records)
        for record in records:
            self.size += record.size
            self.kinds[record.kind or "record"] += 1
            if record.ttl is not None:
                self.expiring += 1
                self.shortest = record.ttl if self.shortest is None else min(self.shortest, record.ttl)
                self.longest = record.ttl if self.longest is None else max(self.longest, record.ttl)

    def _transform(self, work: Sequence[Record], known: dict[bytes, str]) -> None:
        sound = []
        for record in work:
            if record.fault:
                self._refuse(Rejected(record.key, record.fault, record.fault_code))
            else:
                sound.append(record)
        if not sound:
            return
        day, transform = today(), self.m.transform
        days = {record.key: known.get(record.key, day) for record in sound}
        outlines = isinstance(transform, Outlines)
        if self.seconds < SECONDS and (not outlines or self.sampled < SAMPLE):
            self._sample(sound[: SAMPLE - self.sampled] if outlines else sound, days)
        if isinstance(transform, Outlines):
            self._note(transform.outline(sound, days, self.m.cancel), keep=False)

    def _sample(self, records: Sequence[Record], days: dict[bytes, str]) -> None:
        begin = time.monotonic()
        results = self.m.transform.apply(records, days, self.m.cancel)
        self.seconds += time.monotonic() - begin
        self.sampled += len(records)
        if isinstance(self.m.transform, Outlines):
            self.items += [each for each in results if isinstance(each, Item)][: CHECKED - len(self.items)]
        else:
            self._note(results, keep=True)

    def _note(self, results: Sequence[Item | Rejected], *, keep: bool) -> None:
        self.outlined += len(results)
        for each in results:
            if isinstance(each, Rejected):
                self._refuse(each)
                continue
            if each.group in self.groups or len(self.groups) < MOST_GROUPS:
                self.groups[each.group] += 1
            if keep and len(self.items) < CHECKED:
                self.items.append(each)

    def _refuse(self, why: Rejected) -> None:
        self.refused[why.code] += 1
        named = self.examples.setdefault(why.code, [])
        if len(named) < EXAMPLES:
            named.append(f"{shown(why.key)}: {why.reason}")


def preview(m: Migration) -> Preview:
    """Look at everything and write nothing. Raises UnreachableError, ConfigError, Interrupted."""
    sides = look(m)
    peek = Peek(m.ledger)
    seen = _Look(m)
    try:
        seen.scan(peek, Tally(m, m.source.estimate(m.cancel).records, ("scanned",)))
    finally:
        peek.close()
    findings = list(m.sink.check(seen.items, m.cancel))
    work = seen.records - seen.unchanged
    if work and sum(seen.refused.values()) >= work:
        findings.append(f"none of the {work:,} records can be written as they are")
    scan, transform = _rate(seen.records, seen.scanning), _rate(seen.sampled, seen.seconds)
    transform = None if transform is None else transform * max(1, m.transform.workers)
    eta, notes = _eta(m, seen, work, scan, transform)
    if shared := len(seen.items) - len({(each.group, each.id) for each in seen.items}):
        notes.append(
            f"{shared:,} of the {len(seen.items):,} records that were tried share their id with another one: "
            "only the last of each would stay"
        )
    return Preview(
        run_id=m.run_id,
        migration=m.name,
        source=sides.source,
        sink=sides.sink,
        transform=sides.transform,
        records=seen.records,
        bytes=seen.size,
        unchanged=seen.unchanged,
        work=work,
        kinds=dict(seen.kinds.most_common()),
        groups={group: count for group, count in seen.groups.most_common(GROUPS) if group},
        group_count=len([group for group in seen.groups if group]),
        refusals=tuple(Refusal(code, count, tuple(seen.examples[code])) for code, count in seen.refused.most_common()),
        refused=sum(seen.refused.values()),
        findings=tuple(findings),
        expiry=Expiry(seen.expiring, seen.shortest, seen.longest, str(sides.transform.get("ttl", ""))),
        scan_rate=scan,
        transform_rate=transform,
        sampled=seen.sampled,
        eta=eta,
        notes=(*sides.source.notes, *sides.sink.notes, *notes),
    )


def _rate(count: int, seconds: float) -> float | None:
    return count / seconds if count and seconds > 0 else None


def _eta(
    m: Migration, seen: _Look, work: int, scan: float | None, transform: float | None
) -> tuple[float | None, list[str]]:
    """The slowest of what was measured decides; what was not measured is said."""
    notes = []
    rates = [rate for rate in (scan, transform, m.limits.rate) if rate is not None]
    workers = max(1, m.transform.workers)
    side_by_side = f" ({workers} workers reckoned side by side)" if workers > 1 else ""
    eta = None if not rates or (work and transform is None) else work / min(rates)
    if eta is not None:
        notes.append(
            f"the time is an estimate from scanning, and from transforming {seen.sampled:,} records{side_by_side}; "
            "the target was not written to: where it is slower, it decides"
        )
    if m.limits.window is not None:
        notes.append("the time is that of work; outside of its window the run waits")
    if seen.outlined < work - sum(seen.refused.values()):
        notes.append(
            f"groups and refusals are those of the {seen.outlined:,} records that were transformed, not of all"
        )
    if seen.groups and len(seen.groups) >= MOST_GROUPS:
        notes.append(f"more than {MOST_GROUPS} groups: the others were not counted")
    return eta, notes
