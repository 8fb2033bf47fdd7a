"""opsctl with one more migration: from a folder of files to another. Run as a program, in place of `opsctl`."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from opsctl.cli import migrate
from opsctl.cli.main import run
from opsctl.cli.migrating import Shared, Stores, run_migration, shared_options
from opsctl.model.cancel import Cancel
from opsctl.model.migrate import Described, Estimate, Item, Record, Rejected, Removal, Sink, Source, Transform, digest


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _replaced(path: Path, data: bytes) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(data)
    beside.replace(path)


def _described(folder: Path) -> Described:
    return Described("file", "", str(folder), str(folder.resolve()))


class Files:
    """A folder of files as a source: the name is the key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def describe(self, cancel: Cancel) -> Described:
        if "FILES_SILENT" in os.environ:  # a store that takes its time to answer
            Path(os.environ["FILES_SILENT"]).touch()
            cancel.wait(60)
            cancel.check()
        return _described(self.folder)

    def estimate(self, cancel: Cancel) -> Estimate:
        return Estimate(len(list(self.folder.iterdir())))

    def scan(self, batch: int, cancel: Cancel) -> Iterator[Sequence[Record]]:
        names = sorted(each.name.encode() for each in self.folder.iterdir())
        for start in range(0, len(names), batch):
            yield [each for each in self.fetch(names[start : start + batch], cancel) if each is not None]

    def fetch(self, keys: Sequence[bytes], cancel: Cancel) -> Sequence[Record | None]:
        found = [_content(self.folder / key.decode()) for key in keys]
        return [
            None if data is None else Record(key, data, digest(key, data), len(data), "text")
            for key, data in zip(keys, found, strict=True)
        ]

    def remove(self, seen: Sequence[tuple[bytes, bytes]], cancel: Cancel) -> Sequence[Removal]:
        return [self._remove(key, wanted) for key, wanted in seen]

    def _remove(self, key: bytes, wanted: bytes) -> Removal:
        data = _content(self.folder / key.decode())
        if data is None:
            return Removal.GONE
        if digest(key, data) != wanted:
            return Removal.CHANGED
        (self.folder / key.decode()).unlink()
        return Removal.REMOVED

    def dump(self, record: Record) -> Mapping[str, Any]:
        return {"key": record.key.decode(), "data": base64.b64encode(record.value).decode()}

    def restore(self, dumped: Sequence[Mapping[str, Any]], cancel: Cancel) -> Sequence[str]:
        words = []
        for each in dumped:
            path, data = self.folder / each["key"], base64.b64decode(each["data"])
            there = _content(path)
            if there is None:
                _replaced(path, data)
            words.append("restored" if there is None else "there" if there == data else "differs")
        return words

    def close(self) -> None:
        pass


class Folder:
    """A folder of files as a sink; each takes `delay` seconds."""

    def __init__(self, folder: Path, delay: float) -> None:
        self.folder = folder
        self.delay = delay

    def describe(self, cancel: Cancel) -> Described:
        return _described(self.folder)

    def check(self, sample: Sequence[Item], cancel: Cancel) -> Sequence[str]:
        return []

    def prepare(self, groups: Iterable[str], cancel: Cancel) -> None:
        self.folder.mkdir(exist_ok=True)

    def write(self, items: Sequence[Item], cancel: Cancel) -> Sequence[Rejected]:
        for each in items:
            if self.delay:
                Cancel(None).wait(self.delay)
            _replaced(self.folder / each.id, each.body)
        return []

    def read(self, items: Sequence[Item], cancel: Cancel) -> Sequence[bytes | None]:
        found = [_content(self.folder / each.id) for each in items]
        return [None if data is None else digest(data) for data in found]

    def locate(self, ids: Sequence[str], cancel: Cancel) -> Mapping[str, str]:
        return {each: "" for each in ids if (self.folder / each).exists()}

    def remove(self, written: Sequence[tuple[str, str, bytes]], cancel: Cancel) -> Sequence[Removal]:
        return [self._remove(self.folder / name, wanted) for name, _, wanted in written]

    def _remove(self, path: Path, wanted: bytes) -> Removal:
        data = _content(path)
        if data is None:
            return Removal.GONE
        if digest(data) != wanted:
            return Removal.CHANGED
        path.unlink()
        return Removal.REMOVED

    def close(self) -> None:
        pass


class Louder:
    """Upper case; what is not UTF-8 is refused."""

    workers = 1

    def describe(self) -> Mapping[str, Any]:
        return {"mapping": "upper case"}

    def apply(self, records: Sequence[Record], days: Mapping[bytes, str], cancel: Cancel) -> Sequence[Item | Rejected]:
        return [self._one(each) for each in records]

    def _one(self, record: Record) -> Item | Rejected:
        try:
            body = record.value.decode().upper().encode()
        except UnicodeDecodeError:
            return Rejected(record.key, "not UTF-8", "unparsable")
        return Item(record.key, record.key.decode(), body, digest(body), len(body))

    def close(self) -> None:
        pass


def files(
    ctx: typer.Context,
    from_: Annotated[Path, typer.Option("--from")],
    to: Annotated[Path, typer.Option("--to")],
    shared: Shared,
) -> None:
    """Copy a folder."""

    def source(stores: Stores) -> Source:
        return Files(from_)

    def transform(stores: Stores) -> Transform:
        return Louder()

    def sink(stores: Stores) -> Sink:
        return Folder(to, float(os.environ.get("FILES_DELAY", "0")))

    context = shared.context(ctx)
    code = run_migration(context, "files", source=source, transform=transform, sink=sink, options={}, shared=shared)
    raise typer.Exit(code)


if __name__ == "__main__":
    migrate.group.command("files")(shared_options(files))
    run()
