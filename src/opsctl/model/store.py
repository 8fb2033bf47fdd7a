"""A data store as a command reaches it: what the stack file or a URL says, resolved to an address from here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from opsctl.model.secret import Secret

StoreKind = Literal["postgres", "redis", "weaviate", "qdrant", "json"]


@dataclass(frozen=True)
class Target:
    """A store that this process can open.

    `url` has the host and port as they are reached from here: the forwarded ones where the way leads over SSH.
    `shown` and `identity` name the store itself (its own host and port, the droplet it is reached through), without
    user and password: the same store has the same identity whichever local port a tunnel has today.
    """

    kind: StoreKind
    url: Secret
    shown: str
    identity: str
    api_key: Secret | None = None
    grpc_port: int | None = None  # weaviate: as reached from here; None is the one beside its REST port
    via: str = ""  # the droplet whose SSH connection carries it
    store: str = ""  # its name in the stack file, "" for a URL
    export_key: Secret | None = None  # what migrations read from it is exported encrypted with that
    server_name: str = ""  # redis over TLS through a droplet: the name in its certificate; the URL's host is the way
