"""A folder of the vendor's client in local mode as the source of a migration. No server has to run, or may."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError, UnreachableError, UsageError
from opsctl.model.migrate import Described, Estimate, Record, Removal
from opsctl.model.qdrant_collection import CollectionSpec, summary
from opsctl.model.qdrant_point import dumped, fingerprint, id_of, key_of, loaded, split_key

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

_EPSILON = 1.1920929e-07  # of float32, as the server has it
_AS_UNIT = 1e-6  # squared length this near to 1: the server leaves the vector as it is


class QdrantFolder:
    """The points of a local-mode folder, as a server would have them.

    The vendor's client loads a collection whole and keeps everybody else out of the folder while it is open. It reads
    pickles: open only folders whose writer you trust.
    """

    def __init__(self, folder: Path, collections: Sequence[str] = ()) -> None:
        self._folder = folder
        self._wanted = tuple(collections)
        self._lock = threading.RLock()
        self._client: QdrantClient | None = None
        self._cosine: dict[str, frozenset[str]] = {}
        self._specs: Mapping[str, CollectionSpec] | None = None

    def specs(self, cancel: Cancel) -> Mapping[str, CollectionSpec]:
        """The collections by name; local mode keeps sizes and distances and no other setting. Raises UsageError."""
        with self._lock:
            if self._specs is None:
                self._specs = self._read(self._open())
            return self._specs

    def _read(self, client: QdrantClient) -> Mapping[str, CollectionSpec]:
        aliases: dict[str, list[str]] = {}
        for each in client.get_aliases().aliases:
            aliases.setdefault(each.collection_name, []).append(each.alias_name)
        real = {alias: name for name, known in aliases.items() for alias in known}
        there = sorted(each.name for each in client.get_collections().collections)
        names = sorted({real.get(each, each) for each in self._wanted}) or there
        if missing := [each for each in names if each not in there]:
            raise UsageError(
                f"{self._folder} has no collection {missing[0]}", why=f"it has {', '.join(there) or 'none'}"
            )
        return {name: self._spec(client, name, tuple(sorted(aliases.get(name, ())))) for name in names}

    def describe(self, cancel: Cancel) -> Described:
        """The folder, and which collections it has."""
        notes = tuple(summary(each) for each in self.specs(cancel).values())
        address = str(self._folder.resolve())
        return Described("Qdrant local mode", version("qdrant-client"), address, f"folder:{address}", notes)

    def estimate(self, cancel: Cancel) -> Estimate:
        """Exact counts."""
        return Estimate(sum(each.points for each in self.specs(cancel).values()))

    def counts(self, cancel: Cancel) -> Mapping[str, int]:
        """Points by collection, exactly."""
        with self._lock:
            return {name: self._open().count(name).count for name in self.specs(cancel)}

    def sample(self, collection: str, number: int, cancel: Cancel) -> Sequence[Record]:
        """Some points, at random."""
        from qdrant_client import models

        chosen = models.SampleQuery(sample=models.Sample.RANDOM)
        with self._lock:
            found = self._open().query_points(collection, chosen, limit=number).points
        return [each for each in self.fetch([key_of(collection, str(p.id)) for p in found], cancel) if each is not None]

    def scan(self, batch: int, cancel: Cancel) -> Iterator[Sequence[Record]]:
        """Every point of every collection, by id."""
        for name in self.specs(cancel):
            offset: Any = None
            while True:
                cancel.check("the scan")
                with self._lock:
                    page, offset = self._open().scroll(
                        name, limit=max(batch, 1_000), offset=offset, with_payload=True, with_vectors=True
                    )
                records = [self._record(name, each) for each in page]
                yield from (records[start : start + batch] for start in range(0, len(records), batch))
                if offset is None:
                    break

    def fetch(self, keys: Sequence[bytes], cancel: Cancel) -> Sequence[Record | None]:
        """These points as they are now."""
        found: dict[bytes, Record] = {}
        for name in {split_key(key)[0] for key in keys}:
            ids = [id_of(split_key(key)[1]) for key in keys if split_key(key)[0] == name]
            with self._lock:
                points = self._open().retrieve(name, ids, with_payload=True, with_vectors=True)
            found.update((record.key, record) for record in (self._record(name, each) for each in points))
        return [found.get(key) for key in keys]

    def remove(self, seen: Sequence[tuple[bytes, bytes]], cancel: Cancel) -> Sequence[Removal]:
        """Delete those that are still the same; nobody else can write while the folder is open here."""
        done = []
        with self._lock:
            now = self.fetch([key for key, _ in seen], cancel)
            for (key, digest), record in zip(seen, now, strict=True):
                if record is None:
                    done.append(Removal.GONE)
                elif record.digest != digest:
                    done.append(Removal.CHANGED)
                else:
                    name, point = split_key(key)
                    self._open().delete(name, [id_of(point)])
                    done.append(Removal.REMOVED)
        return done

    def dump(self, record: Record) -> Mapping[str, Any]:
        """The point as JSON, vectors as base64 of float32."""
        return dumped(split_key(record.key)[0], record.value)

    def restore(self, dumped: Sequence[Mapping[str, Any]], cancel: Cancel) -> Sequence[str]:
        """Put points back where none is now."""
        from qdrant_client import models

        done = []
        with self._lock:
            for kept in dumped:
                name, point = loaded(kept)
                now = self.fetch([key_of(name, point["id"])], cancel)[0]
                if now is not None:
                    done.append("there" if now.digest == fingerprint(point)[0] else "differs")
                    continue
                self._open().upsert(name, [models.PointStruct.model_validate(point)])
                done.append("restored")
        return done

    def close(self) -> None:
        """Let others into the folder again."""
        with self._lock:
            if self._client is not None:
                self._client.close()
            self._client = None

    def _open(self) -> QdrantClient:
        with self._lock:
            if self._client is None:
                refuse_other_folders(self._folder)
                from qdrant_client import QdrantClient

                warnings.filterwarnings("ignore", module="qdrant_client")  # that large folders are slow: they are left
                try:
                    self._client = QdrantClient(path=str(self._folder), force_disable_check_same_thread=True)
                except RuntimeError as error:
                    raise UnreachableError(
                        f"{self._folder} is in use", why=str(error), next="stop the program that has it open"
                    ) from None
                except (OSError, ValueError) as error:
                    raise ConfigError(f"{self._folder} cannot be read", why=str(error)) from None
            return self._client

    def _spec(self, client: QdrantClient, name: str, aliases: tuple[str, ...]) -> CollectionSpec:
        info = client.get_collection(name).model_dump(mode="json", exclude_none=True)
        kept = {key: info["config"]["params"].get(key) for key in ("vectors", "sparse_vectors")}
        config = {"params": kept, "metadata": info["config"].get("metadata")}
        spec = CollectionSpec.of(name, {**info, "config": config}, aliases)
        self._cosine[name] = frozenset(each for each, of in spec.dense().items() if of["distance"] == "Cosine")
        return spec

    def _record(self, name: str, found: Any) -> Record:
        point = found.model_dump(mode="json", include={"id", "payload", "vector"})
        cosine = self._cosine.get(name, frozenset())
        vector = point["vector"]
        if isinstance(vector, dict):
            point["vector"] = {each: _as_stored(of, each in cosine) for each, of in vector.items()}
        elif vector is not None:
            point["vector"] = _as_stored(vector, "" in cosine)
        digest, size = fingerprint(point)
        return Record(key_of(name, point["id"]), point, digest, size, "point")


def refuse_other_folders(folder: Path) -> None:
    """Raise ConfigError, UsageError for what is no folder of local mode; the client would make a new one of it."""
    if not folder.is_dir():
        raise UsageError(
            f"{folder} is no folder", next="--from http://127.0.0.1:6333, or the folder of QdrantClient(path=…)"
        )
    if (folder / "raft_state.json").exists() or (folder / "collections").is_dir():
        raise ConfigError(
            f"{folder} is the storage of a Qdrant server",
            why="only the server itself can read its segments and write-ahead log; a copy of them may be half a write",
            next="start the server on it, and migrate from its URL: --from http://127.0.0.1:6333",
        )
    if not (folder / "meta.json").is_file():
        raise ConfigError(
            f"{folder} is no folder of Qdrant's local mode",
            why="it has no meta.json",
            next="give the folder that QdrantClient(path=…) was given",
        )


def _as_stored(vector: Any, cosine: bool) -> Any:
    """A vector with the numbers that a server would keep of it: float32 all, and of length 1 for cosine."""
    import numpy as np

    if isinstance(vector, dict):
        return {**vector, "values": np.asarray(vector["values"], dtype=np.float32).tolist()}
    return unit(vector) if cosine else np.asarray(vector, dtype=np.float32).tolist()


def unit(vector: Any) -> Any:
    """A cosine vector as a server keeps it: of length 1, unless it is that already, or nothing but zeros.

    Local mode keeps what it was given. What is made here is near enough to 1 for the server to leave it alone, so
    both have the same numbers bit by bit.
    """
    import numpy as np

    array = np.asarray(vector, dtype=np.float32)
    squares = np.sum(array * array, axis=-1, keepdims=True)
    keep = (squares < _EPSILON) | (np.abs(squares - 1) <= _AS_UNIT)
    wide = array.astype(np.float64)
    length = np.sqrt(np.sum(wide * wide, axis=-1, keepdims=True))
    return np.where(keep, array, (wide / np.where(keep, 1, length)).astype(np.float32)).tolist()
