"""Variables in the stack file: ${VAR}, ${VAR:-default}, ${VAR:?message}, ${cmd:…}, and $$ for a dollar."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from opsctl.model.secret import Redactor, Secret

COMMAND_SECONDS = 10.0
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATORS = (":-", ":?", "-", "?")


class VariableError(ValueError):
    """A reference that cannot be read or has no value; `names` are those that would have been known."""

    def __init__(self, what: str, expected: str, name: str = "") -> None:
        super().__init__(what)
        self.expected = expected
        self.name = name


@dataclass(frozen=True)
class Reference:
    """One `${…}`. `operator` is "", ":-", "-", ":?", "?" or "cmd"; `rest` is its default, message or command."""

    name: str
    operator: str
    rest: str


def split(text: str) -> list[str | Reference]:
    """Plain pieces and references of a template. Raises VariableError where it cannot be read."""
    pieces: list[str | Reference] = []
    plain, index = "", 0
    while index < len(text):
        if text.startswith("$$", index):
            plain, index = plain + "$", index + 2
        elif text.startswith("${", index):
            end = _closing(text, index + 2)
            pieces += [plain] if plain else []
            pieces.append(_reference(text[index + 2 : end]))
            plain, index = "", end + 1
        else:
            plain, index = plain + text[index], index + 1
    return [*pieces, plain] if plain else pieces


def _closing(text: str, start: int) -> int:
    depth = 1
    for index in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[index], 0)
        if depth == 0:
            return index
    raise VariableError("a ${ that is never closed", "${NAME} (write $$ for a dollar sign)")


def _reference(inside: str) -> Reference:
    if inside.startswith("cmd:"):
        if not inside[4:].strip():
            raise VariableError("${cmd:} without a command", "${cmd:pass show database}")
        return Reference("", "cmd", inside[4:].strip())
    match = _NAME.match(inside)
    rest = inside[match.end() :] if match else inside
    operator = next((known for known in _OPERATORS if rest.startswith(known)), "")
    if match is None or (rest and not operator):
        raise VariableError("a ${…} that cannot be read", "${NAME}, ${NAME:-default}, ${NAME:?message} or ${cmd:…}")
    return Reference(match[0], operator, rest[len(operator) :])


@dataclass
class Variables:
    """Where values come from: the environment first, then the stack's env files. Commands run once, in `folder`."""

    environ: Mapping[str, str]
    env_files: Mapping[str, str] = field(default_factory=dict)
    folder: Path = Path()
    _commands: dict[str, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def expand(self, text: str, *, commands: bool = True) -> str:
        """The template with every reference replaced; without `commands` a `${cmd:…}` is an error.

        Raises VariableError.
        """
        return "".join(piece if isinstance(piece, str) else self._value(piece, commands) for piece in split(text))

    def known(self, name: str) -> str | None:
        """The value of a variable, or None."""
        return self.environ.get(name, self.env_files.get(name))

    def _value(self, reference: Reference, commands: bool) -> str:
        if reference.operator == "cmd":
            if not commands:
                raise VariableError("a command outside stores and alerts", "${NAME}, or the value itself")
            return self._output(reference.rest)
        value = self.known(reference.name)
        if value is None or (not value and reference.operator.startswith(":")):
            if reference.operator.endswith("-"):
                return self.expand(reference.rest, commands=commands)
            state = "not set" if value is None else "empty"
            message = (
                f": {self.expand(reference.rest, commands=commands)}"
                if reference.operator.endswith("?") and reference.rest
                else ""
            )
            raise VariableError(
                f"the variable {reference.name} is {state}{message}",
                f"{reference.name} in the environment or an env_file, or ${{{reference.name}:-default}}",
                reference.name,
            )
        return value

    def _output(self, command: str) -> str:
        with self._lock:
            if command not in self._commands:
                self._commands[command] = run_command(command, self.folder, self.environ)
            return self._commands[command]


def run_command(command: str, folder: Path, environ: Mapping[str, str], *, seconds: float = COMMAND_SECONDS) -> str:
    """The stripped output of a shell command, at most `seconds` later.

    Raises VariableError when it fails, prints nothing or takes longer; its whole process group is gone then.
    """
    shown = Redactor()(command)
    with subprocess.Popen(
        ["/bin/sh", "-c", command],
        cwd=folder,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=seconds)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            expected = "a command that prints the value without asking anything"
            raise VariableError(f"`{shown}` did not end within {seconds:g} s", expected) from None
    if process.returncode != 0:
        said = Redactor()(errors.decode(errors="replace").strip().splitlines()[-1]) if errors.strip() else "nothing"
        raise VariableError(
            f"`{shown}` ended with status {process.returncode}, saying: {said}", "a command that succeeds"
        )
    value = output.decode(errors="replace").strip()
    if not value:
        raise VariableError(f"`{shown}` printed nothing", "a command that prints the value")
    return value


def parse_env_file(text: str) -> dict[str, str]:
    """KEY=VALUE lines as compose reads them: comments, `export`, single and double quotes.

    Raises ValueError with the number of a line that is none of these.
    """
    values: dict[str, str] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip().removeprefix("export ").lstrip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or not _NAME.fullmatch(name.strip()):
            raise ValueError(f"line {number} is not NAME=value")
        values[name.strip()] = _unquote(value.strip())
    return values


def _unquote(value: str) -> str:
    if value[:1] in ("'", '"') and (end := value.find(value[0], 1)) > 0:
        inner = value[1:end]
        return inner if value[0] == "'" else inner.replace("\\n", "\n")
    return re.split(r"\s+#", value, maxsplit=1)[0]


class LazySecrets(Mapping[str, Secret]):
    """Secrets that are resolved when one is asked for, so that no command needs a variable it does not use.

    Names, length and `in` resolve nothing. Indexing raises what `resolve` raises.
    """

    def __init__(self, templates: Mapping[str, str], resolve: Callable[[str, str], Secret]) -> None:
        self._templates = dict(templates)
        self._resolve = resolve

    def __getitem__(self, name: str) -> Secret:
        return self._resolve(name, self._templates[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._templates)

    def __len__(self) -> int:
        return len(self._templates)

    def __contains__(self, name: object) -> bool:
        return name in self._templates

    def __repr__(self) -> str:
        return f"LazySecrets({', '.join(self._templates)})"

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def describe(self, name: str) -> str:
        """Where a value would come from, without it: `${DATABASE_URL}`, `${cmd:…}`, or `written in the file`."""
        names = [
            f"${{{piece.name}}}" if piece.name else "${cmd:…}"
            for piece in split(self._templates[name])
            if isinstance(piece, Reference)
        ]
        return ", ".join(names) or "written in the file"
