"""The stack file as a droplet itself gets it: that droplet as `local`, the others left out, secrets apart."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opsctl.model import assets
from opsctl.model.collections import FILE as COLLECTIONS
from opsctl.model.errors import ConfigError
from opsctl.model.secret import Secret
from opsctl.model.stack import Droplet, Stack
from opsctl.model.stackfile_vars import Reference, VariableError, Variables, parse_env_file, split

SECRETS = "secrets.env"
_SECRET_PARTS = ("stores", "alerts", "probes")
_ALWAYS = {"api_key", "export_key", "token"}  # secret also where they are written out
_ONLY_HERE = ("key", "known_hosts")
_TOKENS = ("token_env", "token_file", "token_command")


@dataclass(frozen=True)
class DropletFiles:
    """What goes to /etc/opsctl. `notes`: what the droplet will miss."""

    text: str  # opsctl.yaml
    secrets: Mapping[str, Secret]  # NAME → value, of secrets.env
    files: Mapping[str, bytes] = field(default_factory=dict)  # SQL, collections.yaml: by name beside the stack file
    notes: tuple[str, ...] = ()

    def secrets_text(self) -> Secret:
        """The content of secrets.env. Raises ConfigError for a value that no such file can hold."""
        lines = [f"{name}={_quoted(name, value.reveal())}\n" for name, value in sorted(self.secrets.items())]
        return Secret("# Put here by `opsctl host install`.\n" + "".join(lines))


def for_droplet(stack: Stack, droplet: Droplet, environ: Mapping[str, str]) -> DropletFiles:
    """The files of one droplet. Runs the commands of `${cmd:…}`, whose values the droplet cannot ask for.

    Raises ConfigError where the stack file cannot be read.
    """
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width, yaml.preserve_quotes = 120, True
    path = Path(stack.path) if stack.path else None
    data: Any = yaml.load(path.read_text(encoding="utf-8-sig")) if path else {"version": 1, "droplets": {}}
    making = _Making(_variables(data, path, environ), path.parent.resolve() if path else None)
    _droplets(data, droplet)
    _services(data, stack, droplet)
    making.ways(data.get("stores"), droplet.name)
    making.askable(data.get("probes"), data.get("stores") or {})
    for part in _SECRET_PARTS:
        if data.get(part) is not None:
            data[part] = making.secret(data[part], (part,))
    rest = {key: value for key, value in data.items() if key not in (*_SECRET_PARTS, "env_file")}
    making.named(rest)
    making.sql(data.get("services"))
    making.collections()
    data.pop("env_file", None)
    if making.secrets:
        data["env_file"] = SECRETS
    out = io.StringIO()
    yaml.dump(data, out)
    head = f"# Put here by `opsctl host install`; change it where it comes from: {path.name if path else 'no file'}\n"
    return DropletFiles(head + out.getvalue(), making.secrets, making.files, tuple(making.notes))


def name_of(droplet: str) -> str:
    """What a droplet is called in its own stack file: an address is no name there."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", droplet).lstrip("_.-") or "droplet"


def _variables(data: Any, path: Path | None, environ: Mapping[str, str]) -> Variables:
    given = data.get("env_file") or []
    names = [given] if isinstance(given, str) else list(given)
    values: dict[str, str] = {}
    for name in names if path else ():
        values |= parse_env_file((path.parent / str(name)).expanduser().read_text() if path else "")
    return Variables(environ, values, path.parent if path else Path())


def _droplets(data: Any, droplet: Droplet) -> None:
    """Only this droplet, reached without SSH; and what only this machine has is left out."""
    every = data.get("droplets") or {}
    entry = every.get(droplet.name)
    if entry is None:
        entry = {"compose": list(droplet.compose)} if droplet.compose else {}
    # Copied key by key: what came with a `<<` cannot be deleted from the mapping it was merged into.
    entry = {key: entry[key] for key in entry if key not in _ONLY_HERE}
    entry["address"] = "local"
    provider = entry.get("provider")
    if isinstance(provider, dict):
        entry["provider"] = {key: provider[key] for key in provider if key not in _TOKENS}
    data["droplets"] = {name_of(droplet.name): entry}


def _services(data: Any, stack: Stack, droplet: Droplet) -> None:
    """Without the services that are on other droplets."""
    gone = set(stack.services) - set(stack.on(droplet).services)
    if gone:
        data["services"] = {name: each for name, each in data["services"].items() if name not in gone}


@dataclass
class _Making:
    """What is collected on the way."""

    variables: Variables
    folder: Path | None
    secrets: dict[str, Secret] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def secret(self, value: Any, way: tuple[str, ...]) -> Any:
        """A part in which every text that is or holds a secret has become a variable of its own."""
        if isinstance(value, dict):
            for key in list(value):
                value[key] = self.secret(value[key], (*way, str(key)))
            return value
        if isinstance(value, list):
            return [self.secret(item, (*way, str(number))) for number, item in enumerate(value)]
        # A duration or a word is none, and what reads it may want to see it as it is.
        if not isinstance(value, str) or ("$" not in value and "://" not in value and way[-1] not in _ALWAYS):
            return value
        try:
            plain = self.variables.expand(value)
        except VariableError as error:
            self.notes.append(f"{'.'.join(way)} has no value on the droplet: {error}")
            return value
        name = "OPSCTL_" + re.sub(r"\W+", "_", "_".join(way)).upper()
        self.secrets[name] = Secret(plain)
        return f"${{{name}}}"

    def ways(self, stores: Any, droplet: str) -> None:
        """The stores that lead through this droplet do so still, by the name it has there; others cannot."""
        for name in list(stores or {}):
            via = stores[name].get("via") if isinstance(stores[name], dict) else None
            if via == droplet:
                stores[name]["via"] = name_of(droplet)
            elif via is not None:
                self.notes.append(f"stores.{name} is left out: it leads through {via}, which only this machine reaches")
                del stores[name]

    def askable(self, probes: Any, stores: Any) -> None:
        """Without the probes that ask a store which was left out."""
        for name in list(probes or {}):
            store = probes[name].get("store") if isinstance(probes[name], dict) else None
            if store is not None and store not in stores:
                self.notes.append(f"probes.{name} is left out: it asks {store}")
                del probes[name]

    def named(self, value: Any) -> None:
        """The variables that stand anywhere else, with the values they have here."""
        for name in _names(value):
            known = self.variables.known(name)
            if known is not None:
                self.secrets[name] = Secret(known)

    def sql(self, services: Any) -> None:
        """The SQL files that stand beside the stack file; those that are shipped go with opsctl itself."""
        for service in (services or {}).values():
            steps = service.get("then") if isinstance(service, dict) else None
            for step in steps if isinstance(steps, list) else [steps]:
                name = step.get("sql") if isinstance(step, dict) else None
                if not isinstance(name, str) or name.startswith(("/", "container:")):
                    continue
                found = assets.sql_file(name, self.folder)
                if found is not None and self.folder is not None and found.is_relative_to(self.folder):
                    self.files[found.relative_to(self.folder).as_posix()] = found.read_bytes()

    def collections(self) -> None:
        """The declared collections that stand beside the stack file; without it the droplet would take the shipped."""
        if self.folder is not None and (self.folder / COLLECTIONS).is_file():
            self.files[COLLECTIONS] = (self.folder / COLLECTIONS).read_bytes()


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if not str(key).startswith("x-"):
                yield from _names(item)
    elif isinstance(value, list):
        for item in value:
            yield from _names(item)
    elif isinstance(value, str) and "$" in value:
        for piece in split(value):
            if isinstance(piece, Reference) and piece.name:
                yield piece.name
                yield from _names(piece.rest)


def _quoted(name: str, value: str) -> str:
    """As an env file writes it, so that it is read as it was."""
    for text in (f"'{value}'", '"' + value.replace("\n", "\\n") + '"', value):
        line = f"{name}={text}"
        try:
            if parse_env_file(line) == {name: value}:
                return text
        except ValueError:
            continue
    raise ConfigError(
        f"the value of {name} cannot be written to {SECRETS}",
        why="it has both kinds of quotation marks, or a line break beside one",
        next=f"give {name} another value",
    )
