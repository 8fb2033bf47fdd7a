"""Connections to a Redis, Valkey or Dragonfly: pipelined commands, repeated over a short outage."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import parse_qs, urlsplit

from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError, OpsError, UnreachableError
from opsctl.model.store import Target
from opsctl.stores.redis_info import SAVE_POINTS, Server, parse_info, server_of
from opsctl.stores.redis_line import Command, Line, broken, certificate

if TYPE_CHECKING:
    from redis import ConnectionPool

T = TypeVar("T")

_FIRST = 5.0  # s; nobody waits a minute to learn that an address is wrong
_OUTAGE = 60.0  # s; a restart that loads its data, a failover
_SOCKET = 15.0  # s for one answer
_CONNECT = 5.0  # s


class RedisLink:
    """One server, with a connection for each thread that asks it something."""

    def __init__(self, target: Target, *, outage: float = _OUTAGE) -> None:
        self.target = target
        self._outage = outage
        self._lock = threading.Lock()
        self._own = threading.local()
        self._lines: list[Line] = []
        self._pool: ConnectionPool | None = None
        self._met = False
        self._closed = False

    def run(self, work: Callable[[Line], T], cancel: Cancel) -> T:
        """Do `work` on this thread's line; once more from its beginning where the connection breaks.

        Raises UnreachableError when the server stays away, ConfigError where it refuses the login, Interrupted.
        """
        from redis import exceptions as redis
        from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential, wait_random

        retrying = Retrying(
            retry=retry_if_exception(broken),
            stop=stop_after_delay(self._outage if self._met else min(_FIRST, self._outage)),
            wait=wait_exponential(multiplier=0.05, max=2.0) + wait_random(0, 0.1),
            sleep=lambda seconds: self._wait(seconds, cancel),
            reraise=True,
        )
        try:
            return cast("T", retrying(self._attempt, work, cancel))
        except (redis.RedisError, OSError) as error:
            raise self._told(error) from None

    def ask(self, commands: Sequence[Command], cancel: Cancel) -> list[Any]:
        """What these commands are answered; errors of single ones are among the answers. Raises as `run`."""
        return self.run(lambda line: line.ask(commands), cancel) if commands else []

    def call(self, command: Command, cancel: Cancel) -> Any:
        """What one command is answered. Raises as `run`, and ConfigError where the server refuses it."""
        answer = self.ask([command], cancel)[0]
        if isinstance(answer, Exception):
            raise self.refused(command, answer)
        return answer

    def info(self, cancel: Cancel) -> Mapping[str, str]:
        """INFO, as one mapping, with the save points where the server tells them. Raises as `run`, ConfigError."""
        said, saves = self.ask([("INFO",), ("CONFIG", "GET", "save")], cancel)
        if isinstance(said, Exception):
            raise self.refused(("INFO",), said)
        more = {SAVE_POINTS: saves[1].decode()} if isinstance(saves, list) and len(saves) == 2 else {}
        return {**parse_info(bytes(said)), **more}

    def server(self, cancel: Cancel) -> Server:
        """Which product it is, and whether this can work with it. Raises ConfigError for a cluster's node."""
        server = server_of(self.info(cancel))
        if server.cluster:
            raise ConfigError(
                f"{self.target.shown} is a node of a Redis Cluster",
                why="each node has a part of the keys only, and a part is no whole",
                next="give the address of a server without cluster mode, or of a proxy in front of the cluster",
                code="cluster",
            )
        return server

    def refused(self, command: Command, error: Exception) -> OpsError:
        """An error that a command was answered with, for people."""
        word = command[0]
        name = word.decode(errors="replace") if isinstance(word, bytes) else str(word)
        return ConfigError(
            f"{self.target.shown} refuses {name}",
            why=str(error),
            next="redis-cli ACL WHOAMI   # and what that user may do: ACL GETUSER",
            code="refused",
        )

    @property
    def database(self) -> int:
        """The number of the database that the URL names."""
        parts = urlsplit(self.target.url.reveal())
        text = parts.path.strip("/") or next(iter(parse_qs(parts.query).get("db", ())), "0")
        return int(text) if text.isdigit() else 0

    def close(self) -> None:
        """End all connections; safe to call twice."""
        with self._lock:
            self._closed = True
            lines, self._lines = self._lines, []
        for line in lines:
            line.close()

    def _attempt(self, work: Callable[[Line], T], cancel: Cancel) -> T:
        cancel.check(f"an answer of {self.target.shown}")
        try:
            result = work(self._line())
        except BaseException:
            self._drop()  # what it would answer next is not known any more
            raise
        self._met = True
        return result

    def _line(self) -> Line:
        line: Line | None = getattr(self._own, "line", None)
        if line is None:
            with self._lock:
                if self._closed:
                    raise UnreachableError(f"the connection to {self.target.shown} was ended here")
                if self._pool is None:
                    self._pool = _pool(self.target)
            connection: Any = self._pool.make_connection()
            connection.connect()
            line = Line(connection)
            self._own.line = line
            with self._lock:
                self._lines.append(line)
        return line

    def _drop(self) -> None:
        line: Line | None = getattr(self._own, "line", None)
        if line is None:
            return
        self._own.line = None
        line.close()
        with self._lock:
            if line in self._lines:
                self._lines.remove(line)

    def _wait(self, seconds: float, cancel: Cancel) -> None:
        cancel.wait(seconds)
        cancel.check(f"{self.target.shown} to answer again")

    def _told(self, error: Exception) -> OpsError:
        from redis import exceptions as redis

        shown, said = self.target.shown, str(error)
        if isinstance(error, redis.AuthenticationError | redis.AuthorizationError) or (
            isinstance(error, redis.ResponseError) and said.startswith(("NOAUTH", "WRONGPASS"))
        ):
            return ConfigError(
                f"{shown} refuses the login",
                why=said,
                next="write user and password into the store's URL in the stack file: redis://user:${PASSWORD}@host",
                code="login",
            )
        if isinstance(error, redis.ResponseError):
            return ConfigError(
                f"{shown} refuses what a migration needs",
                why=said,
                next="its user needs SCAN, EVAL, TYPE, PTTL and what reads, writes and deletes: ACL GETUSER shows it",
                code="refused",
            )
        if certificate(error):
            return ConfigError(
                f"the certificate of {shown} cannot be trusted",
                why=said,
                next="add ?ssl_ca_certs=/path/to/ca.pem to the URL",
                code="certificate",
            )
        return UnreachableError(f"{shown} does not answer", why=said, next=_knock(self.target))


def _knock(target: Target) -> str:
    """What shows whether the server listens at all."""
    if target.via:
        return f"opsctl status -d {target.via}   (does it run there, and does it listen at that address?)"
    parts = urlsplit(target.url.reveal())
    tls = " --tls" if parts.scheme == "rediss" else ""
    return f"redis-cli{tls} -h {parts.hostname} -p {parts.port or 6379} ping   (does it run, and listen there?)"


def _pool(target: Target) -> ConnectionPool:
    from redis import ConnectionPool
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    url, more = target.url.reveal(), dict[str, Any]()
    if target.server_name:
        from opsctl.stores.redis_tls import Forwarded

        parts = urlsplit(url)
        more = {"connection_class": Forwarded, "way": (parts.hostname, parts.port)}
        # In brackets where it is an IPv6 address.
        name = f"[{target.server_name}]" if ":" in target.server_name else target.server_name
        user, at, _ = parts.netloc.rpartition("@")
        url = parts._replace(netloc=f"{user}{at}{name}:{parts.port}").geturl()
    try:
        # RESP2: the one that all of them speak, and in which a hash's fields come in pairs.
        return ConnectionPool.from_url(
            url,
            protocol=2,
            decode_responses=False,
            socket_timeout=_SOCKET,
            socket_connect_timeout=_CONNECT,
            socket_read_size=1 << 18,
            client_name="opsctl",
            retry=Retry(NoBackoff(), 0),
            **more,
        )
    except ValueError as error:
        raise ConfigError(
            f"the URL of {target.shown} cannot be used",
            why=type(error).__name__,
            next="write it like rediss://user:${PASSWORD}@host:6379/0",
        ) from None
