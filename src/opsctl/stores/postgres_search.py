"""Searches in the fallback table: exact nearness where pgvector is, full text anyway."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError
from opsctl.model.search import Hit, Question, Scope
from opsctl.model.store import Target
from opsctl.stores import postgres_table as tables
from opsctl.stores.postgres_connect import Postgres, words
from opsctl.stores.postgres_memory import TABLE

if TYPE_CHECKING:
    from psycopg import Connection

T = TypeVar("T")
# A look at the newest tenants that costs one index look-up each, however many rows they have.
_NEWEST = """WITH RECURSIVE each(tenant) AS (
    (SELECT tenant FROM opsctl_memory WHERE collection = %(collection)s ORDER BY tenant DESC LIMIT 1)
    UNION ALL SELECT (SELECT m.tenant FROM opsctl_memory m
        WHERE m.collection = %(collection)s AND m.tenant < each.tenant ORDER BY m.tenant DESC LIMIT 1)
        FROM each WHERE each.tenant IS NOT NULL)
    SELECT tenant FROM each WHERE tenant IS NOT NULL LIMIT %(days)s"""
_NEAREST = """SELECT id::text, tenant, text, body, 1 - (embedding <=> %(vector)s::vector) FROM opsctl_memory
    WHERE collection = %(collection)s AND tenant = ANY(%(tenants)s) AND embedding IS NOT NULL
    AND model IN ('', %(model)s) ORDER BY embedding <=> %(vector)s::vector LIMIT %(limit)s"""
# Any of the words: all of them would find nothing for most sentences. The rank tells how many it has.
_WORDED = """SELECT id::text, tenant, text, body, ts_rank_cd(words, query, 1) AS rank FROM opsctl_memory,
    (SELECT replace(plainto_tsquery('english', %(text)s)::text, ' & ', ' | ')::tsquery AS query) asked
    WHERE collection = %(collection)s AND tenant = ANY(%(tenants)s) AND words @@ query
    ORDER BY rank DESC, id LIMIT %(limit)s"""


class PostgresSearch:
    """The table `opsctl_memory` of one database. `model` is the label of the model that questions are embedded with."""

    def __init__(self, target: Target, *, model: Callable[[], str], patience: float) -> None:
        self._postgres = Postgres(target, patience=patience)
        self._target = target
        self._model = model

    def describe(self, cancel: Cancel) -> str:
        """Connect."""
        return f"PostgreSQL {self._postgres.version(cancel)} {self._target.shown}"

    def scope(self, question: Question, cancel: Cancel) -> Scope:
        """The newest tenants, or those named; empty where the table is missing or has nothing of the collection."""

        def look(connection: Connection[Any]) -> tuple[Mapping[str, str], list[str], set[str]]:
            live = tables.live_columns(connection, TABLE)
            if not live:
                return live, [], set()
            asked = {"collection": question.collection, "days": question.days}
            newest = [tenant for (tenant,) in connection.execute(_NEWEST, asked).fetchall()]
            models = connection.execute(
                "SELECT model FROM opsctl_memory WHERE collection = %s AND embedding IS NOT NULL LIMIT 1",
                (question.collection,),
            )
            return live, newest, {model for (model,) in models.fetchall()}

        live, newest, models = self._ask("looking at the table", look, cancel)
        notes = []
        vector = ""
        if live.get("embedding") == "vector" and models:
            vector = "embedding"
        elif models:
            notes.append("this PostgreSQL has no pgvector: only words are searched")
        return Scope(question.tenants or tuple(newest), vector, not newest, tuple(notes))

    def nearest(self, question: Question, scope: Scope, vector: bytes, cancel: Cancel) -> Sequence[Hit]:
        """By cosine, among vectors of the same model and of those that say of none."""
        import numpy

        numbers = ",".join(map(repr, numpy.frombuffer(vector, "<f4").tolist()))
        rows = self._rows(_NEAREST, question, scope, cancel, vector=f"[{numbers}]", model=self._model())
        return [_hit(*row[:4], nearness=float(row[4])) for row in rows]

    def worded(self, question: Question, scope: Scope, cancel: Cancel) -> Sequence[Hit]:
        """By English words and their stems."""
        rows = self._rows(_WORDED, question, scope, cancel, text=question.text.replace("\0", " "))
        return [_hit(*row[:4], words=float(row[4])) for row in rows]

    def _rows(self, query: str, question: Question, scope: Scope, cancel: Cancel, **more: str) -> list[Any]:
        asked = {
            "collection": question.collection,
            "tenants": list(scope.tenants),
            "limit": question.candidates,
            **more,
        }
        return self._ask("a search", lambda each: each.execute(query.encode(), asked).fetchall(), cancel)

    def _ask(self, what: str, work: Callable[[Connection[Any]], T], cancel: Cancel) -> T:
        import psycopg

        try:
            return self._postgres.run(what, work, cancel)
        except psycopg.Error as error:
            raise ConfigError(
                f"PostgreSQL at {self._target.shown} does not search in {TABLE}",
                why=words(error),
                next="opsctl search TEXT   (with another --fallback)",
            ) from None

    def close(self) -> None:
        """End the connections."""
        self._postgres.close()


def _hit(
    name: str, tenant: str, text: str, body: Any, *, nearness: float | None = None, words: float | None = None
) -> Hit:
    properties = body if isinstance(body, dict) else json.loads(body)
    return Hit(name, tenant, text, properties, nearness=nearness, words=words)
