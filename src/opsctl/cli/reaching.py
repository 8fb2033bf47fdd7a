"""Stores as a command names them, resolved to addresses that can be reached from here."""

from __future__ import annotations

import os
import shlex
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, get_args

from opsctl.cli.context import Context, Session
from opsctl.model.errors import ConfigError, OpsError, UsageError
from opsctl.model.secret import Secret
from opsctl.model.stack import Stack
from opsctl.model.stackfile import with_droplets
from opsctl.model.stackfile_load import read_found
from opsctl.model.store import StoreKind, Target
from opsctl.model.store_url import StoreUrl, example, is_loopback, parse_store, replaced, with_tls

if TYPE_CHECKING:
    from collections.abc import Mapping

_KINDS = get_args(StoreKind)
_PLAIN = {"via", "grpc_port", "plaintext"}
_GRPC = 50051


class Stores:
    """Resolves and reaches stores for as long as the block lasts; one SSH connection for each droplet on the way.

    `targets` has what was resolved so far, by the option that named it.
    """

    def __init__(self, context: Context, *, stack: Path | None = None, droplets: Sequence[str] = ()) -> None:
        self.context = context
        self.targets: dict[str, Target] = {}
        self._path = stack
        self._named = tuple(droplets)
        self._open = ExitStack()
        self._sessions: dict[str, Session] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    @cached_property
    def stack(self) -> Stack:
        """The stack file, which may have no droplet at all. Raises ConfigError, UsageError."""
        found = read_found(self._path, learn=self.context.redact.learn)
        return with_droplets(found, self._named)

    def target(self, text: str, kinds: Sequence[StoreKind], *, flag: str = "--from", via: str = "") -> Target:
        """A store of the stack file by its name, or a URL (a path where `kinds` has json or qdrant), reachable.

        `flag` is the option that named it, for messages. Raises UsageError for what is neither, ConfigError for a
        store that would be reached in the clear, UnreachableError where the droplet on the way does not answer.
        """
        given = self.stack.stores.get(text)
        if given is None:
            url, entry = self._from_argument(text, kinds, flag), dict[str, str]()
        else:
            url = self._from_stack(text, given, kinds, flag)
            entry = {key: given[key].reveal() for key in _PLAIN & set(given)}
            via = entry.get("via", "")
        url = self._guarded(url, via, plaintext=entry.get("plaintext") == "true", name=text, named=given is not None)
        api_key = given["api_key"] if given is not None and "api_key" in given else None
        grpc_port = int(entry["grpc_port"]) if "grpc_port" in entry else None
        target = self._reached(url, via, api_key, grpc_port)
        if given is not None:
            target = replace(target, store=text, export_key=given.get("export_key"))
        self.targets[flag] = target
        return target

    def check(self, text: str, kinds: Sequence[StoreKind], *, flag: str) -> None:
        """Refuse what `target` would refuse, without reaching it. Raises UsageError, ConfigError."""
        given = self.stack.stores.get(text)
        if given is None:
            self._from_argument(text, kinds, flag)
        else:
            self._from_stack(text, given, kinds, flag)

    def session(self, droplet: str) -> Session:
        """The connection to a droplet that a store is reached through; it lasts as long as this block.

        Raises UsageError for one that the stack does not have.
        """
        if droplet not in self._sessions:
            found = with_droplets(self.stack, [droplet]).droplets[droplet]
            self._sessions[droplet] = self._open.enter_context(self.context.session(found))
        return self._sessions[droplet]

    def _from_argument(self, text: str, kinds: Sequence[StoreKind], flag: str) -> StoreUrl:
        names = [name for name, each in self.stack.stores.items() if set(each) & set(kinds)]
        if "://" not in text and not ({"json", "qdrant"} & set(kinds) and ({"/", "."} & set(text))):
            raise UsageError(
                f"{flag}: the stack file has no store {text!r}" if text else f"{flag} names no store",
                why=f"it has {', '.join(names)}" if names else f"it has none of {' or '.join(kinds)}",
                next=self.instead(flag, names[0] if names else example(kinds)),
            )
        try:
            url = parse_store(Secret(text), kinds)
        except ValueError as error:
            self.context.redact.learn(text)
            raise UsageError(f"{flag} cannot be used: {error}", next=self.instead(flag, example(kinds))) from None
        if url.password is not None:
            self.context.redact.learn(url.password)
            raise UsageError(
                f"{flag}: a URL on the command line may hold no password",
                why="everybody on this machine can read it there, and the run's folder would keep it",
                next=f"put it under `stores:` of the stack file, as ${{NAME}}, and write {flag} NAME_OF_THE_STORE",
            )
        return url

    def _from_stack(self, name: str, given: Mapping[str, Secret], kinds: Sequence[StoreKind], flag: str) -> StoreUrl:
        own = next(key for key in given if key in _KINDS)
        if own not in kinds:
            raise UsageError(
                f"{flag}: the store {name} is {own}",
                why=f"expected {' or '.join(kinds)}",
                next=f"{self.instead(flag, example(kinds))}   (or another store of the stack file)",
            )
        try:
            url = parse_store(given[own], kinds)
        except ValueError as error:
            raise self._bad(name, own, str(error), example(kinds)) from None
        if url.scheme == "file" and self.stack.path:
            path = str(Path(self.stack.path).parent / Path(url.path).expanduser())
            url = replace(url, path=path, text=Secret(path))
        if url.password is not None:
            self.context.redact.learn(url.password)
        return url

    def instead(self, flag: str, value: str) -> str:
        """This call as it was typed, with another value of an option."""
        words = [each for each in self.context.process.argv if not each.startswith(f"{flag}=")]
        at = words.index(flag) if flag in words else len(words)
        return self.context.redact(shlex.join(["opsctl", *words[:at], flag, value, *words[at + 2 :]]))

    def _bad(self, name: str, key: str, what: str, instead: str) -> ConfigError:
        origin = self.stack.origins.get(f"stores.{name}.{key}")
        where = f"{origin.source}, line {origin.line}: " if origin else ""
        return ConfigError(
            f"{where}stores.{name}.{key}: {what}",
            why=f"expected something like {instead}",
            next="opsctl config show",
            path=origin.source if origin else None,
            line=origin.line if origin else None,
        )

    def _guarded(self, url: StoreUrl, via: str, *, plaintext: bool, name: str, named: bool) -> StoreUrl:
        """The URL, if nobody on the way can read along. Raises ConfigError with what to write instead."""
        if url.scheme == "file" or via or url.loopback or url.encrypted or plaintext:
            return self._one_tunnel(url, via)
        if url.kind == "postgres" and not url.sslmode:
            return replace(url, text=with_tls(url))
        instead = {"redis": "rediss://", "postgres": "?sslmode=verify-full"}.get(url.kind, "https://")
        option = (
            "`via: DROPLET` to go through a droplet" if named else "--from-via or --to-via DROPLET to go through one"
        )
        what = f"{url.shown} would be reached in plain text over a network"
        raise ConfigError(
            f"stores.{name}: {what}" if named else what,
            why="whoever is on the way could read the password and every record",
            next=f"write {instead} where the server takes TLS, {option},\n"
            "or `plaintext: true` at a store of the stack file",
            code="plaintext",
        )

    def _one_tunnel(self, url: StoreUrl, via: str) -> StoreUrl:
        if via and url.scheme == "https":
            raise ConfigError(
                f"{url.shown} through {via}: TLS inside an SSH connection cannot be checked",
                why=f"the certificate is for {url.host}, and the way that leads there begins at 127.0.0.1",
                next="http:// through the droplet, or https:// without it",
                code="tls-through-ssh",
            )
        return url

    def _reached(self, url: StoreUrl, via: str, api_key: Secret | None, grpc_port: int | None) -> Target:
        if not via:
            here = "" if url.scheme != "file" and not url.loopback else f"{socket.gethostname()}!"
            path = url if url.scheme != "file" else replace(url, path=os.path.realpath(url.path))
            return Target(url.kind, url.text, url.shown, f"{here}{path.shown}", api_key, grpc_port)
        session = self.session(via)
        host, port = self._seen_there(session, url)
        there = self._open.enter_context(session.host.forward(host, port))
        if grpc_port is not None or url.kind == "weaviate":
            grpc = self._open.enter_context(session.host.forward(host, grpc_port or _GRPC))
            grpc_port = grpc.port
        shown = f"{url.shown} via {via}"
        address = session.droplet.address.rpartition("@")[2]
        identity = f"{socket.gethostname() if address == 'local' else address}!{url.shown}"
        name = url.host if url.scheme == "rediss" else ""
        address_here = replaced(url, there.host, there.port)
        return Target(url.kind, address_here, shown, identity, api_key, grpc_port, via, server_name=name)

    def _seen_there(self, session: Session, url: StoreUrl) -> tuple[str, int]:
        """Host and port as the droplet sees them; a compose service's container is looked up there."""
        if is_loopback(url.host) or "." in url.host or ":" in url.host:
            return url.host or "127.0.0.1", url.port
        from opsctl.jobs.containers import read
        from opsctl.jobs.tunnel import Wish, find

        containers = read(session.reads, session.stack, session.droplet, cancel=session.cancel)
        known = {each.service for each in containers.found} | {each.name for each in containers.found}
        if url.host not in known and url.host not in session.stack.services:
            return url.host, url.port
        service = session.stack.services.get(url.host)
        try:
            found = find(
                session.reads, containers, Wish(url.host, url.port), service, session.droplet, cancel=session.cancel
            )
        except OpsError as error:
            if len(self.stack.droplets) > 1 and error.info.next.startswith("opsctl ") and " -d " not in error.info.next:
                error.info = replace(error.info, next=f"{error.info.next} -d {session.droplet.name}")
            raise
        return found.host, found.host_port
