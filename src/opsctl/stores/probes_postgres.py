"""What probes ask a PostgreSQL: how it answers, how full it is of clients, what its fallback table holds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from opsctl.model.cancel import Cancel
from opsctl.model.measures import Measure, Question
from opsctl.model.store import Target
from opsctl.stores.postgres_connect import Postgres
from opsctl.stores.postgres_memory import TABLE
from opsctl.stores.postgres_table import live_columns

if TYPE_CHECKING:
    from psycopg import Connection

_ROUNDS = 9  # of a trivial question, of which the middle one counts
_CLIENTS = """SELECT count(*), current_setting('max_connections')::int, count(*) FILTER (WHERE state = 'active'),
    coalesce(max(extract(epoch FROM now() - xact_start)) FILTER (WHERE pid <> pg_backend_pid()), 0)
    FROM pg_stat_activity WHERE backend_type = 'client backend'"""


def measure_postgres(target: Target, question: Question, cancel: Cancel) -> Mapping[str, Measure]:
    """The measures asked for. Raises UnreachableError, ConfigError."""
    postgres = Postgres(target, patience=0.0)  # a probe says how it is now
    asked: dict[str, Callable[[Connection[Any]], Measure]] = {
        "latency": _latency,
        "connections": _connections,
        "transaction": _transaction,
        "memories": lambda connection: _memories(connection, question.collection),
    }
    try:
        return {
            name: postgres.run(f"measuring {name}", asked[name], cancel) for name in question.names if name in asked
        }
    finally:
        postgres.close()


def _latency(connection: Connection[Any]) -> Measure:
    times = []
    for _ in range(_ROUNDS):
        begin = time.monotonic()
        connection.execute("SELECT 1")
        times.append(time.monotonic() - begin)
    return Measure(statistics.median(times), f"the middle of {_ROUNDS}, at most {max(times) * 1000:.1f} ms")


def _connections(connection: Connection[Any]) -> Measure:
    used, most, active, _ = connection.execute(_CLIENTS).fetchone() or (0, 1, 0, 0)
    return Measure(used / most, f"{used} of {most}, {active} active")


def _transaction(connection: Connection[Any]) -> Measure:
    *_, oldest = connection.execute(_CLIENTS).fetchone() or (0, 1, 0, 0)
    return Measure(float(oldest), "others' transactions, as far as this role sees them")


def _memories(connection: Connection[Any], collection: str) -> Measure:
    if not live_columns(connection, TABLE):
        return Measure(0.0, f"there is no table {TABLE}")
    found = connection.execute(
        "SELECT count(*) FROM opsctl_memory WHERE %s = '' OR collection = %s", (collection, collection)
    ).fetchone()
    return Measure(float(found[0] if found else 0), f"in {TABLE}")
