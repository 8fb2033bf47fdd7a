"""Collections of a vector store as a file declares them, and what is done about what differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol

from opsctl.model.cancel import Cancel
from opsctl.model.vector_object import VectorObject

FILE = "collections.yaml"  # beside the stack file
EXTRA = "extra"  # the property that keeps, as JSON, what a collection has no property for
NEAR_AT_HAND = (
    "none",
    "text2vec-transformers",
    "text2vec-ollama",
    "text2vec-model2vec",
    "text2vec-contextionary",
    "text2vec-gpt4all",
    "ref2vec-centroid",
)
"""Vectorizers that run beside the server. Any other sends what it is given to somebody's API."""
PropertyType = Literal[
    "text", "text[]", "int", "int[]", "number", "number[]", "boolean", "boolean[]", "date", "date[]", "uuid"
]


@dataclass(frozen=True)
class Property:
    """One property: its type, and which indexes it has."""

    name: str
    type: PropertyType
    about: str = ""
    tokenization: str = ""  # of a text: word, lowercase, whitespace, field, trigram …; "" for other types
    filterable: bool = True
    searchable: bool = False  # by BM25, and so by the keyword half of a hybrid search
    range: bool = False  # fast greater-than and less-than, for numbers and dates


@dataclass(frozen=True)
class Vector:
    """One named vector. `width` in numbers; `vectorizer` is "none" where clients bring the vectors."""

    name: str
    width: int | None = None
    vectorizer: str = "none"
    settings: Mapping[str, Any] = field(default_factory=dict)  # of the vectorizer
    index: Literal["hnsw", "flat", "dynamic"] = "hnsw"
    distance: str = "cosine"
    filter: Literal["acorn", "sweeping"] = "acorn"
    ef: int | None = None
    ef_construction: int | None = None
    max_connections: int | None = None


@dataclass(frozen=True)
class Bm25:
    """How keywords are weighted."""

    b: float = 0.75
    k1: float = 1.2
    stopwords: str = "en"


@dataclass(frozen=True)
class Tenants:
    """A collection with a tenant a day (yyyymmdd, UTC)."""

    by: Literal["day"] = "day"
    create: bool = True  # the server makes one that an object names
    activate: bool = True  # the server wakes one that is asked for
    summary: str = ""  # the collection that `close-day` puts a day's summary into


@dataclass(frozen=True)
class Collection:
    """One collection as it is declared."""

    name: str
    about: str = ""
    clinical: bool = False  # nothing of it goes to a third party
    properties: Mapping[str, Property] = field(default_factory=dict)
    vectors: Mapping[str, Vector] = field(default_factory=dict)
    bm25: Bm25 = field(default_factory=Bm25)
    tenants: Tenants | None = None
    line: int = 0


@dataclass(frozen=True)
class Declared:
    """A whole file."""

    file: str
    collections: Mapping[str, Collection]


class Doing(StrEnum):
    """What is done about one difference."""

    CREATE = "create"  # the collection is not there
    ADD = "add"  # a property or a vector
    CHANGE = "change"  # a setting the server can change in place
    REFUSE = "refuse"  # cannot be changed in place
    KEEP = "keep"  # the server has more than the file: left alone


@dataclass(frozen=True)
class Difference:
    """One difference between the file and the server. `next` says what to do where it is refused."""

    collection: str
    path: str  # properties.speaker.tokenization
    doing: Doing
    declared: str = ""
    live: str = ""
    why: str = ""
    next: str = ""
    done: bool = False


@dataclass(frozen=True)
class LiveCollection:
    """A collection on the server. None where it was not asked or cannot be told."""

    name: str
    state: str  # as declared, differs, missing, undeclared
    objects: int | None = None
    tenants: Mapping[str, int] = field(default_factory=dict)  # ACTIVE, INACTIVE, OFFLOADED → how many
    multi_tenant: bool = False
    vectors: tuple[str, ...] = ()  # "minilm 384 hnsw acorn"
    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True)
class CollectionsReport:
    """What `collections status` and `apply` found; `applied` with what was changed."""

    server: str
    version: str
    file: str
    collections: tuple[LiveCollection, ...]
    dry_run: bool = False
    changed: int = 0
    refused: int = 0


@dataclass(frozen=True)
class ClosedDay:
    """What `collections close-day` did."""

    collection: str
    tenant: str
    outcome: str  # closed, unchanged, would-close
    state: str  # the tenant's: INACTIVE, OFFLOADED
    objects: int | None
    summary: str = ""  # where it is: Personal/<uuid>, a file's path, "" without
    characters: int = 0  # of the summary
    notes: tuple[str, ...] = ()


class Summariser(Protocol):
    """Makes a day's summary: a command, or an endpoint."""

    name: str  # what is said of it; never a secret

    def summarise(self, lines: Iterator[bytes], facts: Mapping[str, str], cancel: Cancel) -> str:
        """The summary of objects that come as JSON lines. Raises StepFailed with what it said, Interrupted."""
        ...


class CollectionStore(Protocol):
    """A server of collections, as the jobs on collections see it. Every call is bounded; raises UnreachableError."""

    @property
    def address(self) -> str:
        """Where it is, for people."""
        ...

    def version(self, cancel: Cancel) -> str:
        """The server's version."""
        ...

    def modules(self, cancel: Cancel) -> tuple[str, ...]:
        """The server's modules."""
        ...

    def schema(self, cancel: Cancel) -> Mapping[str, Mapping[str, Any]]:
        """Every collection's live settings, as the server says them, by name."""
        ...

    def compare(
        self, wanted: Collection, live: Mapping[str, Any] | None, version: str, cancel: Cancel
    ) -> tuple[Difference, ...]:
        """What differs, with what can be done about each; empty when the server has what is declared."""
        ...

    def create(self, wanted: Collection, cancel: Cancel) -> None:
        """Make a collection. Raises OpsError with the server's own words."""
        ...

    def alter(self, wanted: Collection, found: Sequence[Difference], cancel: Cancel) -> None:
        """Do what can be done in place. Raises OpsError."""
        ...

    def widths(self, name: str, live: Mapping[str, Any], cancel: Cancel) -> Mapping[str, int]:
        """How many numbers the stored vectors have, by their names; nothing of an empty collection."""
        ...

    def tenants(self, collection: str, cancel: Cancel) -> Mapping[str, str]:
        """Tenants with their state: ACTIVE, INACTIVE, OFFLOADED …"""
        ...

    def set_tenants(self, collection: str, states: Mapping[str, str], cancel: Cancel) -> None:
        """Put tenants into a state, and wait until they are. Raises OpsError."""
        ...

    def counts(self, cancel: Cancel) -> Mapping[str, int]:
        """Objects of each collection, those of active tenants only; may be some seconds old."""
        ...

    def count(self, collection: str, tenant: str, cancel: Cancel) -> int:
        """Objects of one active tenant, counted now."""
        ...

    def pages(
        self, collection: str, tenant: str, size: int, cancel: Cancel
    ) -> Iterator[list[tuple[str, Mapping[str, Any]]]]:
        """The objects of a tenant as (id, properties), `size` at a time."""
        ...

    def get(self, collection: str, tenant: str, id: str, cancel: Cancel) -> VectorObject | None:  # noqa: A002
        """One object without its vectors; None where there is none."""
        ...

    def put(self, collection: str, tenant: str, id: str, body: VectorObject, cancel: Cancel) -> None:  # noqa: A002
        """Write one object, and read it back. Raises StepFailed where it is not what was written."""
        ...
