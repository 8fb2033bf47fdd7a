"""Connections to a PostgreSQL: opened as they are needed, settled alike, asked again over a short outage."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError, OpsError, UnreachableError
from opsctl.model.migrate import Item, Rejected
from opsctl.model.store import Target

if TYPE_CHECKING:
    from psycopg import Connection

T = TypeVar("T")
PATIENCE = 60.0  # seconds: a server that is restarted is back by then
_LONGEST = 300.0  # seconds for one statement
# What is read back as text must look the same whatever the server's, the database's or the role's settings are.
_SETTINGS = {
    "timezone": "UTC",
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "standard_conforming_strings": "on",
    "statement_timeout": str(int(_LONGEST * 1000)),
    "idle_in_transaction_session_timeout": "120000",
    "lock_timeout": "30000",
}
# In each transaction, and not once a connection: behind a pooler the next one may be another connection of the server.
_LOCALLY = f"SELECT {', '.join(['set_config(%s, %s, true)'] * len(_SETTINGS))}"
_VALUES = [each for pair in _SETTINGS.items() for each in pair]
_REFUSED = ("28", "3D", "42501")  # login, no such database, no right
_CLOSED = ("authentication failed", "does not exist", "no password supplied", "certificate", "no pg_hba.conf entry")


class Postgres:
    """One database. Safe to use from several threads: each block has a connection to itself."""

    def __init__(self, target: Target, *, patience: float = PATIENCE) -> None:
        self.where = target.shown
        self._target = target
        self._patience = patience
        self._lock = threading.Lock()
        self._idle: list[Connection[Any]] = []
        self._closed = False

    def version(self, cancel: Cancel) -> str:
        """The server's version, like 16.14."""
        return self.run(
            "connecting", lambda connection: str(connection.info.parameter_status("server_version")), cancel
        )

    def run(self, what: str, work: Callable[[Connection[Any]], T], cancel: Cancel) -> T:
        """What `work` gives in one transaction, which is done again from its beginning when the connection breaks.

        Raises UnreachableError with the last reason, ConfigError where the server lets nobody in; Interrupted. The
        server's refusals of what was asked are psycopg's own.
        """
        import psycopg

        end = Cancel(self._patience)
        pause = 0.1
        while True:
            cancel.check(f"PostgreSQL at {self.where}")
            try:
                with self._connection(cancel) as connection, connection.transaction():
                    connection.execute(_LOCALLY, _VALUES)
                    return work(connection)
            except psycopg.Error as error:
                if is_closed_to_us(error):
                    raise self._refused(error, what) from None
                if not passing(error):
                    raise
                if end.expired:
                    raise self._away(what, error) from None
            cancel.wait(pause)
            pause = min(2 * pause, 3.0)

    @contextmanager
    def _connection(self, cancel: Cancel) -> Iterator[Connection[Any]]:
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        if connection is None or connection.closed:
            connection = self._open(cancel)
        try:
            yield connection
        except BaseException:
            # Nobody knows what state it is in; a statement that Ctrl-C left running ends with it.
            if connection.info.transaction_status.name != "IDLE":
                connection.close()
            self._keep(connection)
            raise
        self._keep(connection)

    def _keep(self, connection: Connection[Any]) -> None:
        with self._lock:
            if not self._closed and not connection.closed:
                self._idle.append(connection)
                return
        with suppress(Exception):
            connection.close()

    def _open(self, cancel: Cancel) -> Connection[Any]:
        import psycopg
        from psycopg.conninfo import make_conninfo

        left = cancel.remaining
        given = make_conninfo(
            self._target.url.reveal(),
            connect_timeout=max(2, round(min(10.0, left if left is not None else 10.0))),
            application_name="opsctl",
            client_encoding="UTF8",
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=30_000,
        )
        # No prepared statements, for the same reason.
        return psycopg.connect(given, autocommit=True, prepare_threshold=None)

    def close(self) -> None:
        """End all connections; safe to call twice."""
        with self._lock:
            idle, self._idle, self._closed = self._idle, [], True
        for each in idle:
            with suppress(Exception):
                each.close()

    def _away(self, what: str, error: Exception) -> UnreachableError:
        return UnreachableError(
            f"PostgreSQL at {self.where} does not answer: {what}",
            why=words(error),
            next="opsctl status   (on the droplet it runs on), or correct the store's URL in opsctl.yaml",
        )

    def _refused(self, error: Exception, what: str) -> OpsError:
        return ConfigError(
            f"PostgreSQL at {self.where} does not do it: {what}",
            why=words(error),
            next="opsctl config show   (stores: user, password and database of the URL)",
        )


def is_closed_to_us(error: Exception) -> bool:
    """Whether the server does not let us in: login, database, right, certificate."""
    state = getattr(error, "sqlstate", None)
    if state is not None:
        return bool(state.startswith(_REFUSED))
    text = str(error).lower()
    return any(each in text for each in _CLOSED)


def passing(error: Exception) -> bool:
    """Whether it may be different a moment later: a broken connection, a restart, a lock, a deadlock, a full disk."""
    import psycopg

    state = getattr(error, "sqlstate", None)
    if state is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return state[:2] in ("08", "57", "53", "40", "55", "58")


def put_apart(items: Sequence[Item], put: Callable[[Sequence[Item]], None]) -> list[Rejected]:
    """Put items, in ever smaller parts where one of them is refused, and those that are refused alone come back.

    Raises psycopg's errors that are not about an item's content.
    """
    import psycopg

    if not items:
        return []
    try:
        put(items)
    except (psycopg.DataError, psycopg.IntegrityError, psycopg.OperationalError, psycopg.InternalError) as error:
        if len(items) == 1:
            return [Rejected(items[0].key, words(error), "refused")]
        half = len(items) // 2
        return put_apart(items[:half], put) + put_apart(items[half:], put)
    return []


def words(error: Exception) -> str:
    """The server's own words, in one line."""
    diagnosis = getattr(error, "diag", None)
    primary = getattr(diagnosis, "message_primary", None)
    if primary:
        detail = getattr(diagnosis, "message_detail", None)
        return " ".join(f"{primary}{f': {detail}' if detail else ''}".split())[:300]
    return " ".join(str(error).split())[:300] or type(error).__name__
