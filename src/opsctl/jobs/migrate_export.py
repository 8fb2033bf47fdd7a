"""A run's export as a file that other programs read: CSV, or one JSON object a line; each record once."""

from __future__ import annotations

import base64
import csv
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

from opsctl.jobs.migrate_lines import Exported, exported, shown
from opsctl.model.cancel import Cancel
from opsctl.model.errors import OpsError, UsageError
from opsctl.model.migrate_run import Cipher
from opsctl.spine import runfiles

Format = Literal["csv", "jsonl"]
COLUMNS = ("key", "key64", "id", "group", "digest", "item_digest", "record")


@dataclass(frozen=True)
class Written:
    """What went into the file."""

    records: int
    replaced: int
    bytes: int


def format_of(path: Path) -> Format:
    """The format that a name ends in. Raises UsageError for any other."""
    found = path.suffix.lower().removeprefix(".")
    if found == "csv":
        return "csv"
    if found == "jsonl":
        return "jsonl"
    raise UsageError(
        f"--to {path}: its name tells no format",
        why="it ends in neither .csv nor .jsonl",
        next="opsctl migrate export last --to records.csv",
    )


def check_new(path: Path, *, force: bool) -> None:
    """Refuse to write over a file. Raises UsageError."""
    if path.is_dir():
        raise UsageError(f"--to {path} is a folder", next=f"opsctl migrate export last --to {path}/records.csv")
    if os.path.lexists(path) and not force:
        raise UsageError(f"{path} is there already", next="add --force to replace it, or name another file")


def write(export: Path, to: Path, *, force: bool, cancel: Cancel, cipher: Cipher | None = None) -> Written:
    """Write the records of an export, 0600, whole or not at all.

    What a rollback would put back is what is written: of several lines of a key the last one. Raises UsageError where
    the file is there and `force` is not given, ConfigError where it is encrypted and the key is not there, OpsError
    where it cannot be written.
    """
    kind = format_of(to)
    check_new(to, force=force)
    beside = to.with_name(f".{to.name}.{os.getpid()}")
    latest = runfiles.Latest()
    try:
        lines = 0
        for begin, line in runfiles.read(export):
            latest.add([(exported(line, cipher).key, begin)])
            lines += 1
            cancel.check("the export")
        found = (exported(line, cipher) for line in latest.lines(export))
        number = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(number, "w", encoding="utf-8", newline="") as into:
            records = (_csv if kind == "csv" else _jsonl)(_checked(found, cancel), into)
            into.flush()
            os.fsync(into.fileno())
            size = os.fstat(into.fileno()).st_size
        _put(beside, to, force=force)
    except OSError as error:
        raise OpsError(
            f"{to} cannot be written", why=error.strerror or str(error), next=f"ls -ld {to.parent}; df -h {to.parent}"
        ) from None
    finally:
        latest.close()
        with suppress(OSError):
            beside.unlink()
    return Written(records, lines - records, size)


def _put(beside: Path, to: Path, *, force: bool) -> None:
    if force:
        beside.replace(to)
        return
    try:
        os.link(beside, to)  # unlike a rename it takes nobody's place, should one have come meanwhile
    except FileExistsError:
        check_new(to, force=False)
        raise


def _checked(found: Iterable[Exported], cancel: Cancel) -> Iterator[Exported]:
    for each in found:
        cancel.check("the export")
        yield each


def _csv(found: Iterable[Exported], into: TextIO) -> int:
    writer = csv.writer(into)
    writer.writerow(COLUMNS)
    rows = 0
    for each in found:
        row = _row(each)
        writer.writerow([*(row[name] for name in COLUMNS[:-1]), json.dumps(row["record"], separators=(",", ":"))])
        rows += 1
    return rows


def _jsonl(found: Iterable[Exported], into: TextIO) -> int:
    rows = 0
    for each in found:
        into.write(json.dumps(_row(each), separators=(",", ":")) + "\n")
        rows += 1
    return rows


def _row(line: Exported) -> dict[str, Any]:
    identity, group, item = line.item or ("", "", b"")
    values = (
        shown(line.key),
        base64.b64encode(line.key).decode(),
        identity,
        group,
        line.digest.hex(),
        item.hex(),
        line.dumped,
    )
    return dict(zip(COLUMNS, values, strict=True))
