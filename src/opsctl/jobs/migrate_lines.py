"""One record as a line of the export, one refused record as a line of the quarantine; and read back."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opsctl.model.errors import ConfigError
from opsctl.model.migrate import DumpsText, Item, Record, Rejected, Source
from opsctl.model.migrate_run import SEALED, Cipher
from opsctl.spine import runfiles

_text = json.encoder.encode_basestring_ascii
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


@dataclass(frozen=True, slots=True)
class Exported:
    """A line of the export. `item` is None where this run removed the record but an earlier one wrote its item."""

    key: bytes
    digest: bytes
    dumped: Mapping[str, Any]
    item: tuple[str, str, bytes] | None  # id, group, digest
    day: str = ""


def export_lines(source: Source, records: Iterable[tuple[Record, Item | None, str]]) -> list[bytes]:
    """Each record as the source can restore it, and what is about to be written of it, with the day of its key."""
    by_hand = source.dump_text if isinstance(source, DumpsText) else None
    lines = []
    for record, item, day in records:
        key64 = binascii.b2a_base64(record.key, newline=False).decode()
        wrote = ""
        if item is not None:
            # By hand, for it is done for every record: an encoder that is made anew costs more than all of this.
            where = f'"id":{_text(item.id)},"group":{_text(item.group)},"item":"{item.digest.hex()}"'
            wrote = f'{where},"day":{_text(day)},'
        dumped = (by_hand(record) if by_hand is not None else None) or _encode(source.dump(record))
        lines.append(f'{{"key64":"{key64}","digest":"{record.digest.hex()}",{wrote}"record":{dumped}}}'.encode())
    return lines


def exported(line: bytes, cipher: Cipher | None) -> Exported:
    """A line of the export read back. Raises ConfigError for an encrypted one without its key."""
    if line.startswith(SEALED):
        line = _opened(line, cipher)
    value = json.loads(line)
    item = (value["id"], value["group"], bytes.fromhex(value["item"])) if "item" in value else None
    key, digest = base64.b64decode(value["key64"]), bytes.fromhex(value["digest"])
    return Exported(key, digest, value["record"], item, value.get("day", ""))


def _opened(line: bytes, cipher: Cipher | None) -> bytes:
    if cipher is not None:
        return cipher.open(line)
    raise ConfigError(
        "the export is encrypted, and its key is not there",
        why="the store that it was read from has no export_key in the stack file any more",
        next="put export_key back at that store in the stack file, and type it again",
        code="export-key",
    )


def quarantine_line(rejected: Rejected, at: str, record: Record | None = None) -> bytes:
    """Key (for people and exactly), reason and code."""
    line: dict[str, Any] = {
        "key": shown(rejected.key),
        "key64": base64.b64encode(rejected.key).decode(),
        "code": rejected.code,
        "reason": rejected.reason,
        "at": at,
    }
    if record is not None:
        line |= {"kind": record.kind, "size": record.size}
    return _encode(line).encode()


def quarantined_keys(path: Path, size: int) -> Iterator[list[bytes]]:
    """The keys of a quarantine file, each once, in batches; memory stays bounded."""
    latest = runfiles.Latest()
    try:
        for begin, line in runfiles.read(path):
            latest.add([(base64.b64decode(json.loads(line)["key64"]), begin)])
        batch: list[bytes] = []
        for line in latest.lines(path):
            batch.append(base64.b64decode(json.loads(line)["key64"]))
            if len(batch) >= size:
                yield batch
                batch = []
        if batch:
            yield batch
    finally:
        latest.close()


def shown(key: bytes) -> str:
    """A key for people, at most 200 characters."""
    text = key.decode("utf-8", "backslashreplace")
    return text if len(text) <= 200 else f"{text[:197]}..."
