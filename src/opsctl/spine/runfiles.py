"""Files of a run that must outlive it: lines appended and synced, documents replaced whole, all 0600."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from opsctl.model.errors import OpsError
from opsctl.spine.ledger_file import disk_full

_BLOCK = 1 << 16
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Lines:
    """A file of JSON lines that only grows; what `append` returned from is on the disk.

    A last line that a kill tore is cut off at opening: nothing was built on it. Raises DiskFull, OpsError.
    """

    def __init__(self, path: Path, sealed: Callable[[bytes], bytes] | None = None) -> None:
        """`sealed` encrypts each line on its way."""
        self.path = path
        self._sealed = sealed
        with _explained(path):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self._size = _cut_torn_line(self._file)
            _sync_folder(path.parent)

    def append(self, lines: Iterable[bytes]) -> None:
        """Write the lines (without their ends) and sync; all of them or, with an error, none."""
        if self._sealed is not None:
            lines = map(self._sealed, lines)
        data = memoryview(b"\n".join((*lines, b"")))
        if not data:
            return
        try:
            with _explained(self.path):
                self._write(data)
        except BaseException:
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(data)

    def _write(self, data: memoryview) -> None:
        done = 0
        while done < len(data):
            done += os.write(self._file, data[done:])
        os.fdatasync(self._file)

    @property
    def size(self) -> int:
        """Bytes; where the next line will begin."""
        return self._size

    def close(self) -> None:
        """End it."""
        os.close(self._file)


def read(path: Path, begin: int = 0) -> Iterator[tuple[int, bytes]]:
    """Each whole line with where it begins, from that byte on; none where there is no file."""
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(begin)
        for line in file:
            if line.endswith(b"\n"):
                yield begin, line
            begin += len(line)


def replace(path: Path, document: Any) -> None:
    """Write a JSON document: a reader sees the old one or the new one, also after a power loss."""
    beside = path.with_name(f".{path.name}.new")
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(file, "wb") as into:
            into.write(json.dumps(document, indent=2, ensure_ascii=False).encode("utf-8", "backslashreplace"))
            into.flush()
            os.fsync(file)
        beside.replace(path)
        _sync_folder(path.parent)


def promote(path: Path, to: Path) -> None:
    """Let one file take the place of another, also across a power loss."""
    with _explained(to):
        path.replace(to)
        _sync_folder(to.parent)


class Latest:
    """Where the last line of each key begins in a file of lines; kept on the disk, so that memory stays bounded."""

    def __init__(self) -> None:
        self._base = sqlite3.connect("", isolation_level=None)
        self._base.execute("CREATE TABLE latest (key BLOB PRIMARY KEY, begin INTEGER NOT NULL)")
        self._base.execute("BEGIN")

    def add(self, found: Iterable[tuple[bytes, int]]) -> None:
        """Later ones replace earlier ones."""
        self._base.executemany("INSERT OR REPLACE INTO latest VALUES (?, ?)", found)

    def __len__(self) -> int:
        count: int = self._base.execute("SELECT count(*) FROM latest").fetchone()[0]
        return count

    def lines(self, path: Path) -> Iterator[bytes]:
        """These lines, in the order of the file."""
        with path.open("rb") as file:
            for (begin,) in self._base.execute("SELECT begin FROM latest ORDER BY begin"):
                file.seek(begin)
                yield file.readline()

    def close(self) -> None:
        """Forget it."""
        self._base.close()


def _cut_torn_line(file: int) -> int:
    size = os.fstat(file).st_size
    end = size
    while end:
        begin = max(0, end - _BLOCK)
        found = os.pread(file, end - begin, begin).rfind(b"\n")
        if found >= 0:
            end = begin + found + 1
            break
        end = begin
    if end < size:
        os.ftruncate(file, end)
    return end


def _sync_folder(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise disk_full(path) from None
        raise OpsError(
            f"{path} cannot be written", why=error.strerror or str(error), next=f"ls -ld {path.parent}"
        ) from None
