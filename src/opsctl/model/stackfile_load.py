"""Finds, reads and checks the stack file, whole, before anything is connected."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from opsctl import __version__
from opsctl.model import assets, stackfile_build
from opsctl.model.errors import ConfigError
from opsctl.model.measures import MEASURES, problems
from opsctl.model.secret import Secret
from opsctl.model.stack import Origin, Stack
from opsctl.model.stackfile_check import validate
from opsctl.model.stackfile_problem import Path as Way
from opsctl.model.stackfile_problem import Problem, config_error, dotted, nearest, shown_path
from opsctl.model.stackfile_schema import ProbeEntry, StackFile
from opsctl.model.stackfile_vars import LazySecrets, VariableError, Variables, parse_env_file, split
from opsctl.model.stackfile_yaml import Document, read_yaml
from opsctl.model.store_url import WAY_KEYS

VARIABLE = "OPSCTL_STACK"
NAME = "opsctl.yaml"
SYSTEM = Path("/etc/opsctl") / NAME
Learn = Callable[[Secret], None]

_LAZY = ("stores", "alerts", "probes")  # secrets: resolved when one is used, not when the file is read


def find_stack(
    option: Path | str | None = None, *, environ: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Path | None:
    """The stack file: `option`, $OPSCTL_STACK, ./opsctl.yaml, /etc/opsctl/opsctl.yaml; None without any.

    Raises ConfigError when one that was named isn't there.
    """
    environ = os.environ if environ is None else environ
    named, by = (str(option), "--stack") if option else (environ.get(VARIABLE, ""), f"${VARIABLE}")
    if named:
        path = (cwd or Path.cwd()) / Path(named).expanduser()
        if path.is_dir():
            path /= NAME
        if not path.exists():
            mend = (
                f"opsctl init user@host --output {shlex.quote(str(path))}"
                if option
                else f"unset {VARIABLE}   (or: opsctl init)"
            )
            raise ConfigError(f"no stack file {named}", why=f"{by} names it, and it isn't there", next=mend)
        return path
    return next((path for path in ((cwd or Path.cwd()) / NAME, SYSTEM) if path.is_file()), None)


def read_found(
    option: Path | str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    learn: Learn | None = None,
) -> Stack:
    """The stack that the stack file describes; an empty one where there is none.

    `learn` is told every secret as it is resolved. Raises ConfigError with everything that is wrong in the file.
    """
    environ = os.environ if environ is None else environ
    path = find_stack(option, environ=environ, cwd=cwd)
    if path is None:
        return Stack(None, {}, {})
    return read_stack(_read(path), path, environ=environ, learn=learn)


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text", why=str(error.reason), next="opsctl init --force") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read", why=error.strerror or str(error), next=f"ls -l {path}") from None


def read_stack(text: str, path: Path, *, environ: Mapping[str, str], learn: Learn | None = None) -> Stack:
    """The stack in a file's text. `path` is what relative names in it are relative to; it need not exist."""
    document = read_yaml(text, shown_path(path))
    if not isinstance(document.data, dict):
        document.problem((), "empty" if document.data is None else "not a mapping", expected="version: 1, droplets: …")
        raise config_error(document.problems)
    _refuse_compose_file(document)
    _check_requires(document)
    variables = Variables(environ, _env_files(document, path.parent), path.parent)
    data = _expand(document.data, (), document, variables)
    entry, problems = validate(StackFile, data, file=document.file, line=document.line)
    noted = {problem.path for problem in document.problems}
    document.problems += [problem for problem in problems if problem.path not in noted]
    if entry is None:
        raise config_error(document.problems)
    _check(entry, document, path.parent)
    _check_ways(entry, document)
    if document.problems:
        raise config_error(document.problems)
    return _stack(entry, document, path, variables, learn)


def _refuse_compose_file(document: Document) -> None:
    services = document.data.get("services")
    shaped = isinstance(services, dict) and any(
        isinstance(entry, dict) and ("image" in entry or "build" in entry) for entry in services.values()
    )
    if shaped and "droplets" not in document.data:
        raise ConfigError(
            "this is a compose file, not a stack file",
            why="its services have an image or a build; opsctl.yaml only adds what compose doesn't know",
            next="opsctl init --output opsctl.yaml",
            path=document.file,
            line=document.line(("services",)),
        )


def _env_files(document: Document, folder: Path) -> dict[str, str]:
    given = document.data.get("env_file", [])
    names = [given] if isinstance(given, str) else given if isinstance(given, list) else []
    values: dict[str, str] = {}
    for index, name in enumerate(names):
        way: Way = ("env_file", index)
        try:
            values |= parse_env_file((folder / str(name)).expanduser().read_text())
        except OSError as error:
            document.problem(way, f"{name} cannot be read: {error.strerror}", expected="a file beside the stack file")
        except ValueError as error:
            document.problem(way, f"{name}: {error}", expected="NAME=value lines")
    return values


def _expand(value: Any, way: Way, document: Document, variables: Variables) -> Any:
    if isinstance(value, dict):
        return {
            key: item if str(key).startswith("x-") else _expand(item, (*way, key), document, variables)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_expand(item, (*way, index), document, variables) for index, item in enumerate(value)]
    if not isinstance(value, str) or "$" not in value:
        return value
    try:
        if way[0] in _LAZY:
            split(value)
            return value
        # Reading a file that somebody left in this folder must not run anything.
        return variables.expand(value, commands=False)
    except VariableError as error:
        meant = nearest(error.name, variables.env_files) if error.name else ""
        document.problem(way, str(error), expected=error.expected, nearest=meant)
        return value


def _check(entry: StackFile, document: Document, folder: Path) -> None:
    if "all" in entry.droplets:
        document.problem(("droplets", "all"), "`all` means every droplet", expected="another name")
    for name, service in entry.services.items():
        for index, step in enumerate(service.then):
            if step.sql and not step.sql.startswith(("/", "container:")) and not assets.sql_file(step.sql, folder):
                document.problem(
                    ("services", name, "then", index, "sql"),
                    f"no file {step.sql}",
                    expected=f"a file in {folder}, /path/on/the/droplet or container:/path",
                    nearest=nearest(step.sql, assets.names("sql", folder)),
                )

    for name, probe in entry.probes.items():
        if probe.store is not None:
            _check_store_probe(name, probe, entry, document)


def _check_store_probe(name: str, probe: ProbeEntry, entry: StackFile, document: Document) -> None:
    way: Way = ("probes", name)
    store = entry.stores.get(probe.store or "")
    if store is None:
        known = ", ".join(entry.stores) or "one under `stores:`"
        meant = nearest(probe.store or "", entry.stores)
        document.problem((*way, "store"), f"no store {probe.store}", expected=known, nearest=meant)
        return
    kind = stackfile_build.store_kind(store)
    if not MEASURES.get(kind):
        able = ", ".join(each for each, measures in MEASURES.items() if measures)
        document.problem((*way, "store"), f"{kind} has no measures", expected=f"a store of {able}")
        return
    for measure, what, names in problems(kind, probe.expect):
        document.problem(
            (*way, "expect", measure), what, expected=", ".join(names), nearest=nearest(measure, names) if names else ""
        )


def _check_ways(entry: StackFile, document: Document) -> None:
    for name, store in entry.stores.items():
        if store.via is not None and store.via not in entry.droplets:
            document.problem(
                ("stores", name, "via"),
                f"no droplet {store.via}",
                expected=f"one of {', '.join(entry.droplets)}" if entry.droplets else "a droplet of this file",
                nearest=nearest(store.via, tuple(entry.droplets)),
            )


def _check_requires(document: Document) -> None:
    """Alone and first: a file for another opsctl has keys that this one cannot judge."""
    requires = str(document.data.get("requires") or "")
    for part in filter(None, (part.strip() for part in requires.split(","))):
        match = re.fullmatch(r"(>=|<=|==|!=|>|<)\s*(\d+(?:\.\d+)*)", part)
        if match is None:
            document.problem(("requires",), f"{part!r} is not a version to compare with", expected=">=0.1")
        elif not _holds(match[1], _numbers(__version__), _numbers(match[2])):
            document.problem(("requires",), f"this is opsctl {__version__}", expected=f"opsctl {requires}")
            raise config_error(document.problems[-1:])


def _numbers(version: str) -> tuple[int, ...]:
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:4])
    return numbers + (0,) * (4 - len(numbers))


def _holds(operator: str, have: tuple[int, ...], want: tuple[int, ...]) -> bool:
    return {
        ">=": have >= want,
        "<=": have <= want,
        "==": have == want,
        "!=": have != want,
        ">": have > want,
        "<": have < want,
    }[operator]


def _stack(entry: StackFile, document: Document, path: Path, variables: Variables, learn: Learn | None) -> Stack:
    resolver = _Resolver(document, variables, learn)
    return Stack(
        path=str(path),
        droplets={name: stackfile_build.droplet(name, each, path.parent) for name, each in entry.droplets.items()},
        services={name: stackfile_build.service(name, each) for name, each in entry.services.items()},
        redundant={name: stackfile_build.redundant(each) for name, each in entry.redundant.items()},
        fallback=tuple(dict.fromkeys(entry.fallback)),
        stores={name: LazySecrets(_given(each), _store(resolver, name)) for name, each in entry.stores.items()},
        probes={
            name: stackfile_build.probe(name, each, _texts(each, resolver, name), entry.stores)
            for name, each in entry.probes.items()
        },
        alerts=LazySecrets(_given(entry.alerts), resolver.under("alerts")),
        origins={dotted(way): Origin(path.name, line) for way, line in document.lines.items() if way},
    )


def _given(entry: Any) -> dict[str, str]:
    given = {key: value for key, value in entry.model_dump(by_alias=True).items() if value is not None}
    return {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in given.items()}


def _store(resolver: _Resolver, name: str) -> Callable[[str, str], Secret]:
    """A store's texts; a way that leads there is no secret."""
    masked, plain = resolver.under("stores", name), resolver.under("stores", name, masked=False)
    return lambda key, text: (plain if key in (*WAY_KEYS, "json") else masked)(key, text)


def _texts(probe: Any, resolver: _Resolver, name: str) -> LazySecrets:
    """A probe's texts; only its key is to be masked wherever they turn up."""
    given = {
        key: text for key, text in _given(probe).items() if key in ("http", "metrics", "traces", "url", "user", "token")
    }
    masked, plain = resolver.under("probes", name), resolver.under("probes", name, masked=False)
    return LazySecrets(given, lambda key, text: (masked if key == "token" else plain)(key, text))


# An address and nothing else, perhaps with the number of a Redis database: masked, it would be missing from the
# commands that one is told to type.
_BARE = re.compile(r"[a-z]+://[\w.\-\[\]:]+(/\d{0,2})?")


class _Resolver:
    """Turns the templates of stores and alerts into secrets, when they are asked for."""

    def __init__(self, document: Document, variables: Variables, learn: Learn | None) -> None:
        self._document = document
        self._variables = variables
        self._learn = learn

    def under(self, *above: str, masked: bool = True) -> Callable[[str, str], Secret]:
        """A resolver for the keys of one mapping; what is not `masked` may be shown."""

        def resolve(name: str, template: str) -> Secret:
            way: Way = (*above, name)
            try:
                secret = Secret(self._variables.expand(template))
            except VariableError as error:
                line = self._document.line(way)
                meant = nearest(error.name, self._variables.env_files) if error.name else ""
                problem = Problem(self._document.file, way, line, str(error), error.expected, meant)
                raise config_error([problem]) from None
            if self._learn is not None and masked and not _BARE.fullmatch(secret.reveal()):
                self._learn(secret)
            return secret

        return resolve
