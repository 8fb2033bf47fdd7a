"""Jobs and checks as a playbook writes them: names, parameters by their kind, variables put in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opsctl.model.playbook import Check, Invocation, JobSpec, Parameter
from opsctl.model.playbook_format import CHECKS
from opsctl.model.playbook_values import WANTED, put_in, typed
from opsctl.model.stackfile_problem import Path, nearest
from opsctl.model.stackfile_yaml import Document


class Words:
    """Reads parts of a document; what is wrong is noted there and ends nothing."""

    def __init__(self, document: Document, jobs: Mapping[str, JobSpec]) -> None:
        self._document = document
        self._jobs = jobs
        self._data: dict[str, Any] = document.data
        self._values: Mapping[str, Any] = {}

    def _call(self, entry: dict[str, Any], path: Path, *, late: bool = False) -> Invocation | None:
        if "job" not in entry:
            return None
        job, at = entry["job"], (*path, "job")
        if isinstance(job, str):
            job = {job: None}
        if not isinstance(job, dict) or len(job) != 1:
            self._wrong(at, "not one job", "job: startup, or job: {startup: {phase: 1}}")
            return None
        ((name, given),) = job.items()
        if name not in self._jobs:
            at = (*at, name) if isinstance(entry["job"], dict) else at
            self._wrong(at, f"there is no job {name}", one_of(self._jobs), nearest(name, self._jobs))
            return None
        arguments = self._arguments(given, (*at, name), self._jobs[name].parameters, f"job {name}", late=late)
        return Invocation(name, arguments, self._document.line(at))

    def _arguments(
        self, given: Any, path: Path, takes: Mapping[str, Parameter], what: str, *, late: bool
    ) -> dict[str, Any]:
        if given is not None and not isinstance(given, dict):
            self._wrong(path, f"{what} wants its parameters by name", one_of(takes) or "none: it takes nothing")
            return {}
        given = put_in(given or {}, path, self._values, self._tell, late=late)
        found = {}
        for key, value in given.items():
            if key not in takes:
                expected = one_of(takes) or "nothing: it takes no parameters"
                self._wrong((*path, key), f"{what} has no parameter {key}", expected, nearest(key, takes))
            elif value is not None:
                found[key] = self._typed(value, takes[key], (*path, key))
        for key, parameter in takes.items():
            if parameter.required and given.get(key) is None:
                self._wrong(path, f"{what} wants {key}", f"{key}: {WANTED[parameter.kind]}")
        return found

    def _checks(self, entry: dict[str, Any], path: Path, key: str, *, late: bool = False) -> tuple[Check, ...]:
        if key not in entry:
            return ()
        listed, at = entry[key], (*path, key)
        if isinstance(listed, dict):
            listed = [listed]
            return tuple(filter(None, [self._check(listed[0], at, late=late)]))
        if not isinstance(listed, list) or not listed:
            self._wrong(at, "not a check", f"one with {one_of((*CHECKS, 'job'))}")
            return ()
        return tuple(filter(None, (self._check(each, (*at, n), late=late) for n, each in enumerate(listed))))

    def _check(self, entry: Any, path: Path, *, late: bool) -> Check | None:
        kinds = (*CHECKS, "job")
        kind = next((kind for kind in kinds if isinstance(entry, dict) and kind in entry), None)
        if kind is None:
            key = next(iter(entry), "") if isinstance(entry, dict) else str(entry)
            at = (*path, key) if isinstance(entry, dict) and key else path
            self._wrong(at, "not a check that is known", one_of(kinds), nearest(str(key), kinds))
            return None
        line = self._document.line(path)
        negated = entry.get("not", False)
        if not isinstance(negated, bool):
            self._wrong((*path, "not"), f"{negated!r} is not allowed", "true or false")
        entry = {key: value for key, value in entry.items() if key != "not"}
        if kind == "job":
            self._known(entry, path, ("job",))
            call = self._call(entry, path, late=late)
            if call is not None and self._jobs[call.job].changes:
                self._wrong(path, f"{call.job} changes something: it is no check", "a job that only reads")
            return Check("job", {"job": call}, line, negated is True) if call else None
        values = self._arguments(entry, path, CHECKS[kind], f"check {kind}", late=late)
        return Check(kind, values, line, negated is True) if kind in values else None

    # Small things

    def _typed(self, value: Any, parameter: Parameter, path: Path) -> Any:
        try:
            return typed(value, parameter)
        except ValueError as error:
            what, _, expected = str(error).partition("; ")
            self._wrong(path, what, expected, nearest(str(value), parameter.choices))
            return None

    def _known(self, entry: dict[str, Any], path: Path, keys: Sequence[str]) -> None:
        for key in entry:
            if key not in keys and not key.startswith("x-"):
                self._wrong((*path, key), "unknown key", one_of(keys), nearest(key, keys))

    def _tell(self, path: Path, what: str, expected: str, near: str) -> None:
        self._wrong(path, what, expected, near)

    def _wrong(self, path: Path, what: str, expected: str = "", near: str = "") -> None:
        self._document.problem(path, what, expected=expected, nearest=near)


def one_of(words: Any) -> str:
    """`one of a, b`."""
    listed = list(words)
    return f"one of {', '.join(listed)}" if len(listed) > 1 else "".join(listed)
