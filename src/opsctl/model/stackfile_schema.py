"""The stack file's shape, as pydantic models: what is checked at load, and what editors are told."""

from __future__ import annotations

import datetime
import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema, field_validator, model_validator

from opsctl.model.stackfile_types import (
    Address,
    Argv,
    DropletPaths,
    FixedPort,
    Http,
    Phase,
    Port,
    Seconds,
    Size,
    Status,
    Switch,
    Text,
    Texts,
    Words,
)

# A token travels encrypted, or not further than this machine.
API = re.compile(r"^(?:https://[^\s/@]+|http://(?:127(?:\.\d+){3}|localhost|\[::1\])(?::\d+)?)(?:/\S*)?$")


def _date(value: str) -> str:
    try:
        return datetime.date.fromisoformat(value).isoformat()
    except ValueError:
        raise ValueError(f"{value!r} is not a day; write it like 2026-01-10") from None


Day = Annotated[str, AfterValidator(_date), WithJsonSchema({"type": "string", "format": "date"})]
DropletName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
ServiceName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]+$")]


class Entry(BaseModel):
    """What every part has in common: unknown keys are errors, `x-…` keys are left alone."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"patternProperties": {"^x-": {}}, "additionalProperties": False}
    )

    @model_validator(mode="before")
    @classmethod
    def _without_extensions(cls, value: object) -> object:
        if isinstance(value, dict):
            # A key with nothing behind it is one that was left out.
            value = {key: item for key, item in value.items() if item is not None and not str(key).startswith("x-")}
        return cls.from_shorthand(value)

    @classmethod
    def from_shorthand(cls, value: object) -> object:
        """The long form of what may also be written short."""
        return value


class DockerEntry(Entry):
    """How opsctl reaches the engine of a droplet."""

    sudo: Literal["auto", "always", "never"] = Field(default="auto", description="Whether docker needs sudo there.")
    socket: Text = Field(default="auto", description="The engine's socket on the droplet; auto asks Docker.")


class ProviderEntry(Entry):
    """Where the droplet is rented."""

    digitalocean: int | Text | None = Field(
        default=None, description="The droplet's number or name at DigitalOcean; without, found by its address."
    )
    api: Text | None = Field(default=None, description="The API's address; without, the vendor's.")
    token_env: Text | None = Field(
        default=None, description="The variable with the API token; else $DIGITALOCEAN_TOKEN or …_ACCESS_TOKEN."
    )
    token_file: Text | None = Field(default=None, description="A file with the token that only you can read (0600).")
    token_command: Text | None = Field(default=None, description="A shell command that prints the token.")

    @model_validator(mode="after")
    def _one_token(self) -> ProviderEntry:
        given = [key for key in ("token_env", "token_file", "token_command") if getattr(self, key) is not None]
        if len(given) > 1:
            raise ValueError(f"has {' and '.join(given)}; one way to the token is enough")
        return self

    @field_validator("api")
    @classmethod
    def _safe_api(cls, value: str | None) -> str | None:
        if value is not None and not API.match(value):
            raise ValueError(f"{value!r} would carry the token in the clear; write it like https://api.example.com")
        return value


class DropletEntry(Entry):
    """One host."""

    address: Address = Field(description="user@host, user@host:port, or local.")
    key: Text | None = Field(default=None, description="The SSH key's file, here; ~ is your home.")
    known_hosts: Text | None = Field(default=None, description="A known_hosts file for this droplet alone.")
    compose: DropletPaths = Field(
        default_factory=list, description="Compose files on the droplet; without, running containers say which."
    )
    env_file: DropletPaths = Field(default_factory=list, description="Env files that compose is given there.")
    project: Text | None = Field(default=None, description="Compose's project name; without, compose's own.")
    reserve: Size = Field(default=200_000_000, description="Memory that stays free when a phase starts.")
    docker: DockerEntry = Field(default_factory=DockerEntry, description="How to reach the engine.")
    provider: ProviderEntry = Field(default_factory=ProviderEntry, description="Where it is rented.")
    boot: Literal["replay", "docker"] = Field(default="docker", description="Who starts the stack after a boot.")
    services: list[ServiceName] = Field(
        default_factory=list, description="Which of `services` are here; without, all that no other droplet names."
    )


class GateEntry(Entry):
    """What must hold before a service counts as up; without any probe its own health check is used."""

    http: Http | None = Field(default=None, description='Port and path to ask for: ":8000/health".')
    tcp: Port | None = Field(default=None, description="A container port that must accept connections.")
    sql: Text | None = Field(default=None, description="A query psql runs inside the container.")
    command: Argv | None = Field(default=None, description="A command inside the container; status 0 passes.")
    status: Status | None = Field(default=None, description="The HTTP status wanted; without, any 2xx.")
    within: Seconds = Field(default=60.0, description="How long it may take.")

    @model_validator(mode="after")
    def _status_needs_http(self) -> GateEntry:
        if self.status is not None and self.http is None:
            raise ValueError('`status` without `http`; http: ":8000/health" beside it')
        return self


class ThenEntry(Entry):
    """A step after a service's gate: exactly one of command, sql and opsctl; a bare text is opsctl's words."""

    command: Argv | None = Field(default=None, description="A command inside the container.")
    sql: Text | None = Field(
        default=None, description="An SQL file: in the stack's folder, /on/the/droplet, container:/path."
    )
    opsctl: Words | None = Field(default=None, description="The words of an opsctl command.")
    within: Seconds = Field(default=60.0, description="How long it may take.")

    KINDS: ClassVar[tuple[Literal["command", "sql", "opsctl"], ...]] = ("command", "sql", "opsctl")

    @classmethod
    def from_shorthand(cls, value: object) -> object:
        return {"opsctl": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_kind(self) -> ThenEntry:
        given = [kind for kind in self.KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            has = " and ".join(given) if given else "none of them"
            raise ValueError(f"has {has}; exactly one of command, sql and opsctl")
        return self


def _list_of_steps(value: object) -> object:
    return [value] if isinstance(value, str | dict) else value


class ServiceEntry(Entry):
    """What opsctl knows of a service beyond compose; the same keys stand under x-opsctl in the compose file."""

    phase: Phase | None = Field(default=None, description="When it starts: services of a phase start together.")
    memory: Size | None = Field(default=None, description="What it is expected to use.")
    gate: GateEntry = Field(default_factory=GateEntry, description="What must hold before it counts as up.")
    proof: Texts = Field(default_factory=list, description="Texts its log must show since it started.")
    then: list[ThenEntry] = Field(default_factory=list, description="Steps after its gate.")
    one_by_one: Switch = Field(default=False, description="Starts alone, after the others of its phase.")
    optional: Switch = Field(default=False, description="Its failure doesn't fail the phase.")

    @classmethod
    def from_shorthand(cls, value: object) -> object:
        if value is None:
            return {}
        if isinstance(value, dict) and "then" in value:
            return {**value, "then": _list_of_steps(value["then"])}
        return value


class RedundantEntry(Entry):
    """Why a service isn't needed any more."""

    reason: Text = Field(description="What replaces it.")
    since: Day = Field(default="", validate_default=False, description="Since when.")

    @classmethod
    def from_shorthand(cls, value: object) -> object:
        return {"reason": value} if isinstance(value, str) else value


class StoreEntry(Entry):
    """One data store: the kind, and how to reach it."""

    postgres: Text | None = Field(default=None, description="A PostgreSQL URL.")
    redis: Text | None = Field(default=None, description="A Redis (or Dragonfly, Valkey) URL.")
    weaviate: Text | None = Field(default=None, description="A Weaviate URL.")
    qdrant: Text | None = Field(default=None, description="A Qdrant URL.")
    json_file: Text | None = Field(default=None, alias="json", description="A JSON file's path.")
    api_key: Text | None = Field(default=None, description="The key for a store that wants one.")
    export_key: Text | None = Field(
        default=None,
        description="32 random bytes in base64: what migrations read from this store is exported encrypted.",
    )
    via: DropletName | None = Field(
        default=None, description="The droplet whose SSH connection leads there; the URL is as that droplet sees it."
    )
    grpc_port: FixedPort | None = Field(default=None, description="weaviate: its gRPC port; without, 50051.")
    plaintext: bool | None = Field(
        default=None, description="Whether it may be reached without TLS over a network; without, it is refused."
    )

    @model_validator(mode="after")
    def _one_kind(self) -> StoreEntry:
        kinds = ("postgres", "redis", "weaviate", "qdrant", "json_file")
        if sum(getattr(self, kind) is not None for kind in kinds) != 1:
            raise ValueError("not one kind of store; exactly one of postgres, redis, weaviate, qdrant and json")
        if self.grpc_port is not None and self.weaviate is None:
            raise ValueError("`grpc_port` means nothing here; it goes with weaviate")
        if self.json_file is not None and (self.via is not None or self.plaintext is not None):
            raise ValueError("`via` and `plaintext` mean nothing for a file; they go with a URL")
        return self


class AlertsEntry(Entry):
    """Whom to tell."""

    webhook: Text | None = Field(default=None, description="A URL that takes JSON posts.")
    command: Text | None = Field(default=None, description="A shell command on the droplet; the message is its stdin.")
    ping: Text | None = Field(default=None, description="A dead man's switch: a URL asked for while all is well.")


class ProbeEntry(Entry):
    """One check with a pass criterion: exactly one of http, command, metrics, traces and store."""

    http: Text | None = Field(
        default=None, description='":8000/health" as the droplet sees it, or a whole URL as seen from here.'
    )
    status: Status | None = Field(default=None, description="http: the status wanted; without, any 2xx.")
    command: Argv | None = Field(default=None, description="A command on the droplet; status 0 passes.")
    metrics: Text | None = Field(
        default=None, description='A PromQL selector, like up{job="agents"}: every series it names must be alive.'
    )
    traces: Text | None = Field(default=None, description="A LangSmith project that must have a new run.")
    store: Text | None = Field(default=None, description="One of `stores`, whose own figures are asked for.")
    expect: dict[str, str | int | float | bool] = Field(
        default_factory=dict, description="store: a bound for each measure; without, the usual ones of its kind."
    )
    collection: Text | None = Field(default=None, description="store: which collection; without, all of them.")
    url: Text | None = Field(
        default=None, description="metrics, traces: the API's address; store: that of its own /metrics."
    )
    user: Text | None = Field(default=None, description="metrics: the user of Grafana Cloud's API, a number.")
    token: Text | None = Field(default=None, description="metrics, traces: the key; write it as ${NAME}.")
    newer: Seconds = Field(default=120.0, description="metrics, traces: how old the newest one may be.")
    gap: Seconds | None = Field(default=None, description="metrics: the longest time without a sample.")
    over: Seconds = Field(default=600.0, description="metrics: how far back a gap is looked for.")
    within: Seconds = Field(default=10.0, description="How long one answer may take.")

    KINDS: ClassVar[tuple[str, ...]] = ("http", "command", "metrics", "traces", "store")
    _BELONGS: ClassVar[dict[str, tuple[str, ...]]] = {
        "status": ("http",),
        "url": ("metrics", "traces", "store"),
        "expect": ("store",),
        "collection": ("store",),
        "user": ("metrics",),
        "token": ("metrics", "traces"),
        "newer": ("metrics", "traces"),
        "gap": ("metrics",),
        "over": ("metrics",),
    }

    @model_validator(mode="after")
    def _one_kind(self) -> ProbeEntry:
        given = [kind for kind in self.KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            has = " and ".join(given) if given else "none of them"
            raise ValueError(f"has {has}; exactly one of http, command, metrics, traces and store")
        for key, kinds in self._BELONGS.items():
            if key in self.model_fields_set and given[0] not in kinds:
                raise ValueError(f"`{key}` means nothing for {given[0]}; it goes with {' and '.join(kinds)}")
        if given[0] in ("metrics", "traces") and self.url is None:
            raise ValueError(f"`{given[0]}` without `url`; the API's address beside it")
        return self


class StackFile(Entry):
    """An opsctl.yaml, version 1."""

    version: Literal[1] = Field(description="The version of this format.")
    requires: Text = Field(default="", description='The opsctl this file needs: ">=0.1".')
    env_file: Texts = Field(default_factory=list, description="Files with NAME=value lines, beside this file.")
    droplets: dict[DropletName, DropletEntry] = Field(default_factory=dict, description="The hosts, by name.")
    services: dict[ServiceName, ServiceEntry] = Field(default_factory=dict, description="Services, by compose name.")
    redundant: dict[ServiceName, RedundantEntry] = Field(
        default_factory=dict, description="Services something else replaces; `since` holds for all of them."
    )
    fallback: list[ServiceName] = Field(
        default_factory=list, description="What must run when nothing else can; without, phases 1 and 2."
    )
    stores: dict[str, StoreEntry] = Field(default_factory=dict, description="Data stores, by name.")
    probes: dict[str, ProbeEntry] = Field(default_factory=dict, description="What `opsctl validate` asks, by name.")
    alerts: AlertsEntry = Field(default_factory=AlertsEntry, description="Whom to tell.")

    @classmethod
    def from_shorthand(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        redundant = value.get("redundant")
        if isinstance(redundant, dict) and isinstance(redundant.get("since"), str):
            return {**value, "redundant": _since_for_all(redundant)}
        return value


def _since_for_all(redundant: dict[str, Any]) -> dict[str, Any]:
    since = redundant["since"]
    result: dict[str, Any] = {}
    for name, entry in redundant.items():
        if name != "since":
            long = RedundantEntry.from_shorthand(entry)
            result[name] = {"since": since, **long} if isinstance(long, dict) else long
    return result
