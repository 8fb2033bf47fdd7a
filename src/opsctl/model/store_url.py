"""What the URL of a store says: kind, host, port; and whether it would travel in the clear."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qs, urlsplit

from opsctl.model.secret import Secret
from opsctl.model.store import StoreKind

_SCHEMES: dict[str, tuple[StoreKind, ...]] = {
    "redis": ("redis",),
    "rediss": ("redis",),
    "postgres": ("postgres",),
    "postgresql": ("postgres",),
    "http": ("weaviate", "qdrant"),
    "https": ("weaviate", "qdrant"),
}
_PORTS = {"redis": 6379, "postgres": 5432, "weaviate": 8080, "qdrant": 6333}
WAY_KEYS = ("via", "grpc_port", "plaintext")  # of a store in the stack file: how it is reached, and no secret
_FILES: tuple[StoreKind, ...] = ("json", "qdrant")  # a file, and the folder of a local Qdrant
_ENCRYPTED = ("require", "verify-ca", "verify-full")


@dataclass(frozen=True)
class StoreUrl:
    """A store's address, taken apart. `path` is of a file or folder (scheme file), else what stands behind the port."""

    kind: StoreKind
    scheme: str
    host: str
    port: int
    path: str
    text: Secret  # whole, as it was given
    password: Secret | None = None

    @property
    def loopback(self) -> bool:
        """Whether it does not leave the machine that it is seen from."""
        return is_loopback(self.host)

    @property
    def encrypted(self) -> bool:
        """Whether the client cannot but encrypt."""
        if self.kind == "postgres":
            return self.sslmode in _ENCRYPTED
        return self.scheme in ("rediss", "https")

    @property
    def sslmode(self) -> str:
        """What a PostgreSQL URL demands, "" where it says nothing."""
        query = parse_qs(urlsplit(self.text.reveal()).query)
        return next(iter(query.get("sslmode", ())), "")

    @property
    def shown(self) -> str:
        """Host, port and what stands behind it; never user, password or parameters."""
        if self.scheme == "file":
            return self.path
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}{self.path}"


def is_loopback(host: str) -> bool:
    """Whether a host name means the machine that it is looked up on. "" is a Unix socket's."""
    if host in ("", "localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def parse_store(text: Secret, kinds: Sequence[StoreKind]) -> StoreUrl:
    """A URL, or a path where `kinds` has one that lives in files.

    Raises ValueError, whose text never repeats what was given.
    """
    plain = text.reveal()
    scheme, there, _ = plain.partition("://")
    scheme = scheme.lower()
    if not there or scheme == "file":
        kind = next((each for each in kinds if each in _FILES), None)
        if kind is None:
            raise ValueError("it is no URL")
        return StoreUrl(kind, "file", "", 0, urlsplit(plain).path if there else plain, text)
    meant = [each for each in _SCHEMES.get(scheme, ()) if each in kinds]
    if not meant:
        raise ValueError(f"{scheme}:// is the URL of another kind of store")
    return _parsed(meant[0], scheme, urlsplit(plain), text)


def _parsed(kind: StoreKind, scheme: str, parts: SplitResult, text: Secret) -> StoreUrl:
    try:
        port = parts.port
    except ValueError:
        raise ValueError("its port is no number from 1 to 65535") from None
    if not parts.hostname and kind != "postgres":
        raise ValueError("it names no host")
    standard = 443 if scheme == "https" and kind == "weaviate" else _PORTS[kind]
    path = parts.path.rstrip("/")
    if kind == "redis":
        query = parse_qs(parts.query)
        path = f"/{path.strip('/') or next(iter(query.get('db', ())), '0')}"
    password = Secret(parts.password) if parts.password else None
    return StoreUrl(kind, scheme, parts.hostname or "", port or standard, path, text, password)


def example(kinds: Sequence[StoreKind]) -> str:
    """What one may write."""
    texts = {
        "redis": "rediss://db.example.com:6379",
        "postgres": "postgresql://app@db.example.com/app",
        "weaviate": "https://vectors.example.com",
        "qdrant": "https://vectors.example.com:6333",
        "json": "graph_state.json",
    }
    return texts[kinds[0]]


def replaced(url: StoreUrl, host: str, port: int) -> Secret:
    """The URL with another host and port: the way that leads there from here.

    PostgreSQL keeps the name, which its certificate is checked against, and is given the address beside it.
    """
    parts = urlsplit(url.text.reveal())
    user, at, _ = parts.netloc.rpartition("@")
    if url.kind == "postgres" and url.host:
        netloc = f"{user}{at}{parts.hostname}:{port}"
        query = f"{parts.query}&hostaddr={host}" if parts.query else f"hostaddr={host}"
        return Secret(parts._replace(netloc=netloc, query=query).geturl())
    return Secret(parts._replace(netloc=f"{user}{at}{host}:{port}").geturl())


def with_tls(url: StoreUrl) -> Secret:
    """A PostgreSQL URL that says nothing of encryption, demanding it."""
    parts = urlsplit(url.text.reveal())
    query = f"{parts.query}&sslmode=require" if parts.query else "sslmode=require"
    return Secret(parts._replace(query=query).geturl())
