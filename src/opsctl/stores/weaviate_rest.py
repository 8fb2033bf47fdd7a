"""Weaviate's REST side: readiness, schema, tenants, nodes. Bounded, retried while the server is away, cancellable."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError, OpsError
from opsctl.model.store import Target
from opsctl.stores.weaviate_retry import MEETING, PATIENCE, Passing, look_at, patiently, unreachable

if TYPE_CHECKING:
    import httpx

_TIMEOUT = 30.0  # seconds for one answer; a schema change waits for the cluster's consent
_MESSAGE = 104_858_000  # bytes: the server's bound where it names none
_TENANTS = 100  # the server takes no more in one update
_STATES = {"HOT": "ACTIVE", "COLD": "INACTIVE", "FROZEN": "OFFLOADED", "FREEZING": "OFFLOADING"}
_STATES |= {"UNFREEZING": "ONLOADING"}
_MOVING = frozenset({"OFFLOADING", "ONLOADING"})
LEAST = (1, 27)
DEFAULT = "default"  # what the one vector of a collection without named ones is called


class WeaviateRest:
    """One server's REST API. Safe to use from several threads."""

    def __init__(self, target: Target, *, patience: float = PATIENCE) -> None:
        self.where = target.shown
        self._target = target
        self._patience = patience
        self._made: httpx.Client | None = None
        self._met = False  # it has answered before

    def close(self) -> None:
        """End it; safe to call twice."""
        if self._made is not None:
            self._made.close()

    # Asking

    def ask(self, method: str, path: str, cancel: Cancel, body: object = None, **query: str) -> Any:
        """The JSON of an answer, None for 404. Raises UnreachableError, ConfigError for 401 and 403, else OpsError."""
        result = patiently(
            f"{method} {path}",
            lambda: self._once(method, path, cancel, body, query),
            cancel,
            where=self.where,
            patience=self._patience if self._met else min(MEETING, self._patience),
            look=look_at(self._target),
        )
        self._met = True
        return result

    def _once(self, method: str, path: str, cancel: Cancel, body: object, query: Mapping[str, str]) -> Any:
        import httpx

        left = cancel.remaining
        timeout = _TIMEOUT if left is None else max(0.05, min(_TIMEOUT, left))
        try:
            answer = self._client().request(method, path, json=body, params=query or None, timeout=timeout)
        except httpx.TransportError as error:
            raise Passing(str(error) or type(error).__name__) from None
        if answer.status_code in (429, 502, 503, 504):
            raise Passing(f"HTTP {answer.status_code} {_words(answer)}")
        if answer.status_code == 404:
            return None
        if answer.status_code in (401, 403):
            raise self._refused(answer.status_code)
        if answer.status_code >= 400:
            raise OpsError(
                f"Weaviate at {self.where} refuses {method} {path}",
                why=f"HTTP {answer.status_code}: {_words(answer)}",
                next="opsctl collections status",
                code="weaviate-refused",
            )
        return answer.json() if answer.content else {}

    def _client(self) -> httpx.Client:
        if self._made is None:
            import httpx

            key = self._target.api_key
            headers = {"Authorization": f"Bearer {key.reveal()}"} if key else {}
            base = self._target.url.reveal().rstrip("/").removesuffix("/v1") + "/v1"
            # A proxy of the environment would be asked for loopback and for a forwarded port, too.
            # To read the certificates that are trusted takes 0.1 s: not where none is shown.
            verify = not base.startswith("http:")
            self._made = httpx.Client(base_url=base, headers=headers, trust_env=False, verify=verify)
        return self._made

    def _refused(self, status: int) -> ConfigError:
        given = "the API key is not accepted" if self._target.api_key else "no API key is given"
        return ConfigError(
            f"Weaviate at {self.where} does not let us in",
            why=f"HTTP {status}: {given}",
            next="correct api_key of the store in opsctl.yaml, then: opsctl collections status",
        )

    # What it is

    def ready(self, cancel: Cancel) -> float | None:
        """Seconds until it said that it is ready; None when it does not. Asked once."""
        began = time.monotonic()
        try:
            answer = self._once("GET", "/.well-known/ready", cancel, None, {})
        except Passing:
            return None
        return None if answer is None else time.monotonic() - began

    def meta(self, cancel: Cancel) -> Mapping[str, Any]:
        """Version, modules, the largest gRPC message. Raises ConfigError for what is no Weaviate, or too old a one."""
        found = self.ask("GET", "/meta", cancel)
        version = found.get("version") if isinstance(found, dict) else None
        if not isinstance(version, str):
            raise ConfigError(
                f"{self.where} is no Weaviate",
                why="it answers, but GET /v1/meta names no version",
                next="correct the store's address in opsctl.yaml, then: opsctl collections status",
            )
        if version_of(version) < LEAST:
            raise ConfigError(
                f"Weaviate {version} at {self.where} is too old",
                why=f"opsctl speaks with {LEAST[0]}.{LEAST[1]} and newer ones",
                next="upgrade the server, then: opsctl collections status",
            )
        assert isinstance(found, dict)
        return found

    def largest(self, cancel: Cancel) -> int:
        """Bytes of the largest gRPC message it takes."""
        return int(self.meta(cancel).get("grpcMaxMessageSize") or 0) or _MESSAGE

    def nodes(self, cancel: Cancel) -> list[Mapping[str, Any]]:
        """The nodes with their shards."""
        found = self.ask("GET", "/nodes", cancel, output="verbose") or {}
        return list(found.get("nodes") or ())

    def count(self, places: Sequence[tuple[str, str]], cancel: Cancel) -> list[int]:
        """Objects of each (collection, active tenant), counted now."""
        found: list[int] = []
        for start in range(0, len(places), _TENANTS):
            part = places[start : start + _TENANTS]
            asked = " ".join(
                f"c{number}:{name}{f'(tenant:{json.dumps(group)})' if group else ''}{{meta{{count}}}}"
                for number, (name, group) in enumerate(part)
            )
            data = self.graphql(f"{{Aggregate{{{asked}}}}}", cancel)["Aggregate"]
            found += [int(data[f"c{number}"][0]["meta"]["count"]) for number in range(len(part))]
        return found

    def sample(self, collection: str, tenant: str, cancel: Cancel) -> Mapping[str, Any] | None:
        """Any one object with its properties and vectors; None where there is none."""
        more = {"tenant": tenant} if tenant else {}
        found = self.ask("GET", "/objects", cancel, **{"class": collection, "limit": "1", "include": "vector"}, **more)
        return next(iter((found or {}).get("objects") or ()), None)

    def widths(self, name: str, settings: Mapping[str, Any], cancel: Cancel) -> dict[str, int]:
        """The width of each vector that is stored, from one object of what is active; empty where there is none."""
        groups = [""]
        if (settings.get("multiTenancyConfig") or {}).get("enabled"):
            states = self.tenants(name, cancel)
            groups = sorted((each for each, state in states.items() if state == "ACTIVE"), reverse=True)[:3]
        for group in groups:
            found = self.sample(name, group, cancel)
            if found is not None:
                vectors = found.get("vectors") or {}
                one = {DEFAULT: found["vector"]} if found.get("vector") else {}
                return {vector: len(numbers) for vector, numbers in {**vectors, **one}.items()}
        return {}

    def graphql(self, query: str, cancel: Cancel) -> Mapping[str, Any]:
        """The data of an answer. Raises OpsError with the server's words."""
        found = self.ask("POST", "/graphql", cancel, {"query": query}) or {}
        if found.get("errors"):
            words = "; ".join(str(each.get("message", each)) for each in found["errors"])[:300]
            raise OpsError(f"Weaviate at {self.where} does not answer", why=words, next="opsctl collections status")
        data: Mapping[str, Any] = found["data"]
        return data

    # Schema

    def schema(self, cancel: Cancel) -> dict[str, Mapping[str, Any]]:
        """Every collection's settings, by name."""
        found = self.ask("GET", "/schema", cancel) or {}
        return {each["class"]: each for each in found.get("classes") or ()}

    def collection(self, name: str, cancel: Cancel) -> Mapping[str, Any] | None:
        """One collection's settings; None where there is none of that name."""
        found: Mapping[str, Any] | None = self.ask("GET", f"/schema/{name}", cancel)
        return found

    # Tenants

    def tenants(self, collection: str, cancel: Cancel) -> dict[str, str]:
        """Tenants with their state: ACTIVE, INACTIVE, OFFLOADED, OFFLOADING or ONLOADING."""
        found = self.ask("GET", f"/schema/{collection}/tenants", cancel) or ()
        return {each["name"]: _state(each.get("activityStatus")) for each in found}

    def make_tenants(self, collection: str, names: Iterable[str], cancel: Cancel) -> None:
        """Create active tenants; those that are there already stay as they are."""
        wanted = list(names)
        for start in range(0, len(wanted), _TENANTS):
            body = [{"name": name, "activityStatus": "ACTIVE"} for name in wanted[start : start + _TENANTS]]
            self.ask("POST", f"/schema/{collection}/tenants", cancel, body)

    def set_tenants(self, collection: str, states: Mapping[str, str], cancel: Cancel) -> None:
        """Put tenants into a state, and wait until they are. Raises UnreachableError when they do not get there."""
        wanted = list(states.items())
        for start in range(0, len(wanted), _TENANTS):
            part = dict(wanted[start : start + _TENANTS])
            body = [{"name": name, "activityStatus": state} for name, state in part.items()]
            self.ask("PUT", f"/schema/{collection}/tenants", cancel, body)
            self._settled(collection, part, cancel)

    def _settled(self, collection: str, states: Mapping[str, str], cancel: Cancel) -> None:
        bound = cancel.child(self._patience)
        while True:
            now = self.tenants(collection, cancel)
            behind = {name: now.get(name, "missing") for name, state in states.items() if now.get(name) != state}
            if not behind:
                return
            name, state = next(iter(behind.items()))
            if state not in _MOVING or bound.expired:
                raise unreachable(f"tenant {name} is to be {states[name]}", self.where, f"it is {state}")
            bound.wait(0.5)
            cancel.check(f"tenant {name}")


def _state(text: object) -> str:
    word = str(text or "ACTIVE").upper()
    return _STATES.get(word, word)


def _words(answer: httpx.Response) -> str:
    try:
        found = answer.json()
        errors = found.get("error") or [found.get("message", "")]
        return "; ".join(str(each.get("message", each) if isinstance(each, dict) else each) for each in errors)[:500]
    except (ValueError, AttributeError):
        return answer.text[:200]


def version_of(text: str) -> tuple[int, ...]:
    """1.35.2 as (1, 35, 2); what is no number ends it."""
    numbers: list[int] = []
    for part in text.split("."):
        digits = part.partition("-")[0]
        if not digits.isdigit():
            break
        numbers.append(int(digits))
    return tuple(numbers)


def grpc_address(target: Target) -> tuple[str, bool]:
    """host:port of the gRPC side, and whether it is TLS."""
    url = urlsplit(target.url.reveal())
    host, secure = url.hostname or "127.0.0.1", url.scheme == "https"
    if target.grpc_port is None and host.endswith((".weaviate.cloud", ".weaviate.network")):
        return f"grpc-{host}:443", True
    shown = f"[{host}]" if ":" in host else host
    return f"{shown}:{target.grpc_port or (443 if secure else 50051)}", secure
