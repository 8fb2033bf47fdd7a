"""What a migration would do, and what one has proved, as a person reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from rich.table import Table
from rich.text import Text

from opsctl.model.migrate import Receipt
from opsctl.model.migrate_run import Foreseen, Preview
from opsctl.model.migrate_shown import Migrated
from opsctl.model.units import show_duration, show_size
from opsctl.render.screen import Screen

_STYLES = {
    "complete": "bold green",
    "finished": "bold green",
    "rolled-back": "bold green",
    "partial": "bold yellow",
    "stopped": "bold yellow",
    "failed": "bold red",
}
_FORESEEN: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("at the source", "finish"): {
        "delete": "to be deleted",
        "changed": "changed since they were read: they would stay",
        "lost": "no longer in the target as they were verified: they would stay",
        "gone": "gone already",
    },
    ("at the target", "finish"): {},
    ("at the source", "rollback"): {
        "restore": "to be put back, unless their TTL is over",
        "there": "there still, the same",
        "changed": "in another state by now: they would be left alone",
    },
    ("at the target", "rollback"): {
        "remove": "to be taken back",
        "changed": "in another state by now: they would be left alone",
        "gone": "gone already",
    },
}
_MOST = 8  # groups or examples shown


def print_migrated(done: Migrated, *, redact: Callable[[str], str]) -> None:
    """Write the dry run's findings or the receipt to stdout."""
    console = Screen()
    if done.preview is not None:
        _print(console, preview_lines(done.preview), redact)
    if done.receipt is not None:
        print_receipt(done.receipt, redact=redact)
    if done.foreseen is not None:
        _print(console, foreseen_lines(done, done.foreseen), redact)
    print_next(done.next, redact=redact)


def print_next(words: Sequence[str], *, redact: Callable[[str], str]) -> None:
    """Write to stdout what to type next."""
    console = Screen()
    for number, each in enumerate(words):
        console.whole(Text.assemble(("      " if number else "next  ", "dim"), redact(each)))


def print_receipt(receipt: Receipt, *, redact: Callable[[str], str]) -> None:
    """Write what a run proved to stdout."""
    _print(Screen(), receipt_lines(receipt), redact)


def receipt_lines(receipt: Receipt) -> Iterator[Text | Table]:
    """The receipt: outcome, counts, the two checksums, where things are."""
    counts = receipt.counts
    yield Text.assemble(
        (receipt.outcome, _STYLES.get(receipt.outcome, "bold")), f"  {receipt.migration}  ", (receipt.run_id, "dim")
    )
    yield from _sides(receipt)
    rows = [
        ("scanned", counts.scanned),
        ("unchanged", counts.unchanged),
        ("verified", counts.verified),
        ("quarantined", counts.quarantined),
        ("vanished", counts.vanished),
        ("removed", counts.removed),
        ("changed since", counts.changed),
    ]
    # A copy that found nothing says that; what `finish` did not scan is no news.
    facts = [
        (name, f"{number:,}") for name, number in rows if number or (name, receipt.outcome) == ("scanned", "complete")
    ]
    facts += [("", f"{number:,} {code}") for code, number in sorted(counts.reasons.items())]
    if counts.bytes:
        facts.append(("bytes", show_size(counts.bytes)))
    if receipt.outcome != "rolled-back":  # its notes say it all
        yield from (_fact(name, value) for name, value in facts)
    if receipt.verified_total:
        yield _fact("in the ledger", f"{receipt.verified_total:,} verified, by this run or one before")
        yield _checksums(receipt)
    if counts.quarantined:
        yield _fact("quarantine", receipt.quarantine)
    if receipt.export:
        yield _fact("export", receipt.export)
    yield from _notes(receipt.notes)


def _checksums(receipt: Receipt) -> Text:
    if receipt.wanted_checksum == receipt.stored_checksum:
        return Text.assemble(*_head("checksum"), receipt.stored_checksum, ("  the same on both sides", "green"))
    different = f"{receipt.wanted_checksum} wanted, {receipt.stored_checksum} stored"
    return Text.assemble(*_head("checksum"), (different, "bold red"))


def preview_lines(preview: Preview) -> Iterator[Text | Table]:
    """The dry run: how much, where to, what stands against it."""
    yield Text.assemble((preview.migration, "bold"), ("  dry run: nothing was written", "dim"))
    yield from _sides(preview)
    for key, value in preview.transform.items():
        if key != "ttl" and value:
            yield from _facts(key, value)
    yield _fact("records", f"{preview.records:,}, {show_size(preview.bytes)}{_kinds(preview)}")
    if preview.unchanged:
        yield _fact("unchanged", f"{preview.unchanged:,} are there already, as they are")
    yield _fact("to write", f"{max(0, preview.work - preview.refused):,}{_time(preview)}")
    if preview.groups and set(preview.groups) != {""}:
        yield _groups(preview)
    if preview.expiry.count:
        yield _fact("TTLs", _expiry(preview))
        yield _fact("", preview.expiry.promise)
    for each in preview.refusals:
        yield Text.assemble(*_head("refused"), (f"{each.count:,} {each.code}", "yellow"))
        yield from (_fact("", text) for text in each.examples[:3])
    yield from (Text(f"! {text}", style="bold red") for text in preview.findings)
    yield from _notes((*preview.source.notes, *preview.sink.notes, *preview.notes))


def foreseen_lines(done: Migrated, found: Foreseen) -> Iterator[Text | Table]:
    """The dry run of `finish` or `rollback`: what would become of how many records, on each side."""
    yield Text.assemble(
        (f"{done.action} {done.run_id}", "bold"), f"  {done.migration}", ("  dry run: nothing was written", "dim")
    )
    yield _fact("from", done.source)
    yield _fact("to", done.sink)
    yield _fact("records", f"{found.records:,}")
    for side, counts in (("at the source", found.source), ("at the target", found.sink)):
        rows = [f"{counts[word]:,} {text}" for word, text in _FORESEEN[side, found.action].items() if counts.get(word)]
        yield from (_fact("" if number else side, row) for number, row in enumerate(rows))
    yield from _notes(
        tuple(
            f"{count:,} at the target were written by run {run}, and would stay: opsctl migrate rollback {run}"
            for run, count in found.left.items()
        )
    )


def _sides(either: Preview | Receipt) -> Iterator[Text]:
    for name, side in (("from", either.source), ("to", either.sink)):
        yield _fact(name, " ".join(each for each in (side.product, side.version, side.address) if each))


def _kinds(preview: Preview) -> str:
    if len(preview.kinds) < 2 and not any(preview.kinds):
        return ""
    counts = (f"{number:,} {kind or 'other'}" for kind, number in sorted(preview.kinds.items()))
    return f"  ({', '.join(counts)})"


def _time(preview: Preview) -> str:
    if preview.eta is None or not preview.work:
        return ""
    return f", about {show_duration(preview.eta)} (from {preview.sampled:,} tried)"


def _groups(preview: Preview) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(width=10, style="dim")
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    largest = sorted(preview.groups.items(), key=lambda each: (-each[1], each[0]))[:_MOST]
    for number, (group, count) in enumerate(largest):
        table.add_row("" if number else "groups", group or "(one place)", f"{count:,}")
    if preview.group_count > len(largest):
        table.add_row("", f"and {preview.group_count - len(largest):,} more", "")
    return table


def _expiry(preview: Preview) -> str:
    found = preview.expiry
    if found.shortest is None or found.longest is None:
        return f"{found.count:,} records have one"
    return f"{found.count:,} records, from {show_duration(found.shortest)} to {show_duration(found.longest)}"


def _notes(notes: tuple[str, ...]) -> Iterator[Text]:
    yield from (Text(f"note: {note}", style="yellow") for note in dict.fromkeys(notes))


def _head(name: str) -> tuple[tuple[str, str]]:
    return ((f"  {name:<14}", "dim"),)


def _facts(name: str, value: object) -> Iterator[Text]:
    """A mapping with a line for each of its entries."""
    lines = [f"{key}: {each}" for key, each in value.items()] if isinstance(value, Mapping) else [f"{value}"]
    yield from (_fact("" if number else name, line) for number, line in enumerate(lines))


def _fact(name: str, value: str) -> Text:
    return Text.assemble(*_head(name), value)


def _print(console: Screen, lines: Iterator[Text | Table] | list[Text], redact: Callable[[str], str]) -> None:
    for line in lines:
        if isinstance(line, Text):
            masked = redact(line.plain)
            console.say(line if masked == line.plain else Text(masked))
        else:
            console.print(line)
