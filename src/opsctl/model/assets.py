"""Finds playbooks, SQL and collections: in the stack's folder, in the installed package, in a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

Kind = Literal["playbooks", "sql", "collections"]
_PACKAGE = Path(__file__).resolve().parent.parent


def folders(kind: Kind, stack_folder: Path | None = None) -> list[Path]:
    """The folders that are looked into, first wins; those that do not exist are left out."""
    places = [stack_folder / kind] if stack_folder is not None else []
    # An editable install has no copy inside the package, a wheel has no checkout around it.
    places.append(_PACKAGE / kind)
    checkout = _PACKAGE.parent.parent
    if (checkout / "pyproject.toml").is_file() and (checkout / "src" / "opsctl") == _PACKAGE:
        places.append(checkout / kind)
    return [place for place in places if place.is_dir()]


def names(kind: Kind, stack_folder: Path | None = None) -> list[str]:
    """All files of a kind, relative to their folder, sorted; a file of the stack's own hides the shipped one."""
    found: set[str] = set()
    for folder in folders(kind, stack_folder):
        found.update(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(found)


def find(kind: Kind, name: str, stack_folder: Path | None = None) -> Path | None:
    """The first file with that relative name; None where there is none, or where the name leads out of its folder."""
    for folder in folders(kind, stack_folder):
        path = (folder / name).resolve()
        if path.is_file() and path.is_relative_to(folder.resolve()):
            return path
    return None


def sql_file(name: str, stack_folder: Path | None = None) -> Path | None:
    """The file of a `then: {sql: …}` step: beside the stack file, else among the shipped SQL."""
    if stack_folder is not None and (stack_folder / name).is_file():
        return (stack_folder / name).resolve()
    return find("sql", name.removeprefix("sql/"), stack_folder)
