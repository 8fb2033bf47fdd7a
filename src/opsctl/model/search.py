"""A search over memory items: what is asked, what a store answers, what a person gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from opsctl.model.cancel import Cancel


@dataclass(frozen=True)
class Question:
    """What is looked for. `tenants` named by a person, else the newest `days` that there are."""

    text: str
    collection: str
    tenants: tuple[str, ...] = ()
    days: int = 7
    limit: int = 10

    @property
    def candidates(self) -> int:
        """How many each half is asked for: what is tenth by nearness may be first once words count, too."""
        return max(3 * self.limit, 30)


@dataclass(frozen=True)
class Scope:
    """Where in a store will be looked. `tenants` is ("",) where the collection has none; `empty` if nothing is there.

    `vector` is the named vector that can be compared with, "" where only words can be; `notes` say why, and what is
    left out.
    """

    tenants: tuple[str, ...]
    vector: str = ""
    empty: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Hit:
    """One item. `score` is from 0 to 1, of this search alone; `nearness` the cosine, `words` the store's own rank."""

    id: str
    tenant: str
    text: str
    properties: Mapping[str, Any] = field(default_factory=dict)
    score: float = 0.0
    nearness: float | None = None
    words: float | None = None


@dataclass(frozen=True)
class Answer:
    """What one store said; `connecting` seconds until it could be asked, `seconds` for the search itself."""

    store: str  # Weaviate 1.35.2 127.0.0.1:8080
    how: str  # vector and words, words
    tenants: tuple[str, ...]
    hits: tuple[Hit, ...]
    seconds: float
    connecting: float = 0.0
    empty: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SearchReport:
    """What a search found, and who answered.

    `answered_by` is first or fallback; `failed` says why the first did not answer, "" if it did or there is none.
    `fallback` is not asked, answered, empty, failed or none. `embedding` in seconds, None without one.
    """

    question: Question
    answer: Answer
    answered_by: str
    failed: str
    fallback: str
    embedding: float | None
    notes: tuple[str, ...] = ()


class SearchStore(Protocol):
    """A store that can be searched in both ways. Every call is bounded; raises UnreachableError, ConfigError."""

    def describe(self, cancel: Cancel) -> str:
        """Product, version, address."""
        ...

    def scope(self, question: Question, cancel: Cancel) -> Scope:
        """Where to look."""
        ...

    def nearest(self, question: Question, scope: Scope, vector: bytes, cancel: Cancel) -> Sequence[Hit]:
        """The items whose vectors are nearest, with `nearness`; those of all tenants can be compared."""
        ...

    def worded(self, question: Question, scope: Scope, cancel: Cancel) -> Sequence[Hit]:
        """The items that have the words, with `words`: more is better."""
        ...

    def close(self) -> None:
        """End it; safe to call twice."""
        ...
