"""Playbooks by name: in the stack's folder, in the installed package, in a checkout; or a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from opsctl.jobs.playbook import shown_value
from opsctl.jobs.playbook_jobs import SPECS
from opsctl.model import assets
from opsctl.model.errors import ConfigError, UsageError
from opsctl.model.playbook import Playbook
from opsctl.model.playbook_read import read_playbook
from opsctl.model.playbook_run import ListedPlaybook, ShownPlaybook, ShownVariable, shown_step
from opsctl.model.stackfile_problem import nearest, shown_path

_ENDINGS = (".yaml", ".yml")


def names(folder: Path | None) -> dict[str, Path]:
    """Every playbook that can be named, with its file; the stack's own hides one that is shipped."""
    found = {}
    for name in assets.names("playbooks", folder):
        path = assets.find("playbooks", name, folder)
        if path is not None and path.suffix in _ENDINGS:
            found[Path(name).with_suffix("").as_posix()] = path
    return found


def read(name: str, folder: Path | None, *, values: Mapping[str, Any] | None = None) -> Playbook:
    """A playbook by its name, or by its file. Raises UsageError, ConfigError."""
    path = Path(name)
    if path.suffix not in _ENDINGS or not path.is_file():
        every = names(folder)
        if name not in every:
            near = nearest(name, every)
            hint = f' (did you mean "{near}"?)' if near else ""
            raise UsageError(
                f"there is no playbook {name}{hint}",
                why=f"there are {', '.join(every)}" if every else "there is none at all",
                next="opsctl playbook list",
            )
        path = every[name]
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{path} cannot be read", why=str(reason), next=f"ls -l {path}") from None
    label = name if path == Path(name) else path.stem
    return read_playbook(text, name=label, file=shown_path(path), jobs=SPECS, values=values)


def listed(folder: Path | None) -> tuple[ListedPlaybook, ...]:
    """Every playbook in a line, those that are wrong with the reason."""
    result = []
    for name, path in sorted(names(folder).items()):
        try:
            book = read(name, folder)
            result.append(ListedPlaybook(name, book.title, shown_path(path), len(book.steps)))
        except ConfigError as error:
            line = f" (line {error.info.line})" if error.info.line else ""
            result.append(ListedPlaybook(name, "", shown_path(path), 0, f"{error.info.what}{line}"))
    return tuple(result)


def shown(book: Playbook) -> ShownPlaybook:
    """A playbook in words."""
    variables = tuple(
        ShownVariable(
            each.name, each.kind, shown_value(each), each.about, each.default is None and each.kind != "secret"
        )
        for each in book.variables.values()
    )
    return ShownPlaybook(
        book.name, book.title, book.about, book.file, book.digest, variables, tuple(map(shown_step, book.steps))
    )
