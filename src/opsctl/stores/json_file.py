"""A JSON file with sessions by their ids (`graph_state.json`), as a source and as a sink of a migration."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError, StepFailed
from opsctl.model.json_sessions import parsed, session_digest, sessions, together
from opsctl.model.migrate import Described, Estimate, Item, Record, Rejected, Removal
from opsctl.model.store import Target
from opsctl.model.units import show_size

LIMIT = 256_000_000  # bytes; it is read whole
_TRIES = 20  # rewrites of a file that somebody else writes, too
_PAUSE = 0.1  # s between them
_Change = Callable[[dict[str, str]], None]


class JsonFile:
    """The file, read whole and checked, and written whole or not at all.

    With `session` the file is the state of that one session. What the file was before this changed it first stays
    beside it, as `.before-<time>`. `missing_ok`: a sink may begin with no file.
    """

    def __init__(self, target: Target, session: str = "", *, missing_ok: bool = False, limit: int = LIMIT) -> None:
        self._target = target
        self._path = Path(target.url.reveal())
        self._session = session
        self._missing_ok = missing_ok
        self._limit = limit
        self._lock = threading.Lock()
        self._known: tuple[object, dict[str, str]] | None = None
        self._backed_up = False

    def describe(self, cancel: Cancel) -> Described:
        """The file. Raises ConfigError for one that cannot be read, or does not hold sessions."""
        there = self._read()
        notes = (f"{len(there)} sessions are in it",) if there and self._missing_ok else ()
        return Described("file", "", self._target.shown, self._target.identity, notes)

    def estimate(self, cancel: Cancel) -> Estimate:
        """How many sessions, and how large the file is."""
        there = self._read()
        return Estimate(len(there), sum(map(len, there.values())))

    def scan(self, batch: int, cancel: Cancel) -> Iterator[Sequence[Record]]:
        """Every session, as the bytes of its JSON."""
        records = [self._record(name, text) for name, text in self._read().items()]
        for begin in range(0, len(records), batch):
            cancel.check("the sessions")
            yield records[begin : begin + batch]

    def fetch(self, keys: Sequence[bytes], cancel: Cancel) -> Sequence[Record | None]:
        """These sessions as the file has them now."""
        there = self._read()
        return [self._record(key.decode(), there[key.decode()]) if key.decode() in there else None for key in keys]

    def dump(self, record: Record) -> Mapping[str, Any]:
        """The id, and the JSON as text."""
        return {"id": record.key.decode(), "text": record.value.decode()}

    def restore(self, dumped: Sequence[Mapping[str, Any]], cancel: Cancel) -> Sequence[str]:
        """Put back what is missing."""
        outcomes: list[str] = []

        def change(there: dict[str, str]) -> None:
            outcomes.clear()
            for each in dumped:
                name, text = str(each["id"]), str(each["text"])
                how = "restored" if name not in there else "there" if there[name] == text else "differs"
                there.setdefault(name, text)
                outcomes.append(how)

        self._rewrite(change, cancel)
        return outcomes

    def remove(self, seen: Sequence[tuple[Any, ...]], cancel: Cancel) -> Sequence[Removal]:
        """Compare-and-delete: (key, digest) as a source, (id, group, digest) as a sink."""
        outcomes: list[Removal] = []

        def change(there: dict[str, str]) -> None:
            outcomes.clear()
            for name, *_, wanted in seen:
                name = name.decode() if isinstance(name, bytes) else name
                if name not in there:
                    outcomes.append(Removal.GONE)
                elif session_digest(there[name].encode()) != wanted:
                    outcomes.append(Removal.CHANGED)
                else:
                    del there[name]
                    outcomes.append(Removal.REMOVED)

        self._rewrite(change, cancel)
        return outcomes

    def check(self, sample: Sequence[Item], cancel: Cancel) -> Sequence[str]:
        """What stands against writing."""
        return [] if os.access(self._path.parent, os.W_OK) else [f"{self._path.parent} cannot be written to"]

    def prepare(self, groups: Iterable[str], cancel: Cancel) -> None:
        """Nothing to prepare."""

    def write(self, items: Sequence[Item], cancel: Cancel) -> Sequence[Rejected]:
        """Put sessions into the file; the others in it stay."""
        meant = [item for item in items if self._session in ("", item.id)]
        self._rewrite(lambda there: there.update({item.id: item.body.decode() for item in meant}), cancel)
        others = [item for item in items if self._session not in ("", item.id)]
        return [Rejected(item.key, f"the file is the state of {self._session} alone") for item in others]

    def read(self, items: Sequence[Item], cancel: Cancel) -> Sequence[bytes | None]:
        """The digests of what the file has."""
        there = self._read()
        return [session_digest(there[item.id].encode()) if item.id in there else None for item in items]

    def locate(self, ids: Sequence[str], cancel: Cancel) -> Mapping[str, str]:
        """There are no groups in a file."""
        return {}

    def close(self) -> None:
        """Nothing is held open."""

    def _record(self, name: str, text: str) -> Record:
        value = text.encode()
        whole = text.startswith("{")
        fault = "" if whole else "no session: its value is no object"
        return Record(name.encode(), value, session_digest(value), len(value), "session", None, fault, "wrong-type")

    def _read(self) -> dict[str, str]:
        with self._lock:
            return dict(self._current()[1])

    def _current(self) -> tuple[object, dict[str, str]]:
        mark = _mark(self._path)
        if self._known is None or self._known[0] != mark:
            self._known = mark, self._load()
        return self._known

    def _load(self) -> dict[str, str]:
        try:
            size = self._path.stat().st_size
            if size > self._limit:
                raise self._bad(f"it has {show_size(size)}, the limit is {show_size(self._limit)}")
            text = self._path.read_bytes().decode()
        except FileNotFoundError:
            if self._missing_ok:
                return {}
            raise self._bad("there is no such file") from None
        except OSError as error:
            raise self._bad(error.strerror or str(error)) from None
        except UnicodeDecodeError:
            raise self._bad("it is not UTF-8 text") from None
        try:
            return self._sessions(text)
        except ValueError as error:
            raise self._bad(f"it is no JSON object: {error}") from None

    def _sessions(self, text: str) -> dict[str, str]:
        if self._session:
            # A file that was emptied by `finish` has nothing to say of the session.
            return {self._session: text.strip()} if parsed(text) else {}
        found = sessions(text)
        if found and ("messages" in found or not any(value.startswith("{") for value in found.values())):
            raise ConfigError(
                f"{self._target.shown} is one state, and not sessions by their ids",
                why=f"it has {', '.join(list(found)[:5])}",
                next="say which session it is: --session ID",
                path=str(self._path),
            )
        return found

    def _bad(self, why: str) -> ConfigError:
        return ConfigError(
            "the file of sessions cannot be read", why=why, next=f"ls -l {self._path}", path=str(self._path)
        )

    def _rewrite(self, change: _Change, cancel: Cancel) -> None:
        """Change the file whole; from the start again where somebody else wrote it meanwhile. Raises StepFailed."""
        with self._lock:
            for _ in range(_TRIES):
                mark, before = self._current()
                after = dict(before)
                change(after)
                if after == before:
                    return
                if self._replace(mark, self._text(after)):
                    return
                cancel.wait(_PAUSE)
                cancel.check(f"{self._path} to be left alone")
        raise StepFailed(
            f"{self._path} is written by somebody else all the time",
            why="what they write in between would be lost",
            next="stop the service that writes it, then the same again",
        )

    def _text(self, found: Mapping[str, str]) -> str:
        return found.get(self._session, "{}") + "\n" if self._session else together(found)

    def _replace(self, mark: object, text: str) -> bool:
        """Put a new file into its place, if the old one is still what was read; with its mode, else 0600."""
        if not self._backed_up:
            now = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
            with suppress(FileNotFoundError):
                shutil.copy2(self._path, self._path.with_name(f"{self._path.name}.before-{now}"))
            self._backed_up = True
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}.")
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileNotFoundError, PermissionError):
                there = self._path.stat()
                temporary.chmod(there.st_mode & 0o777)
                os.chown(temporary, there.st_uid, there.st_gid)
            if _mark(self._path) != mark:
                return False
            temporary.replace(self._path)
            self._known = None
            return True
        finally:
            temporary.unlink(missing_ok=True)


def _mark(path: Path) -> object:
    """What tells one state of a file from the next; None without one."""
    try:
        there = path.stat()
    except OSError:
        return None
    return there.st_ino, there.st_mtime_ns, there.st_size
