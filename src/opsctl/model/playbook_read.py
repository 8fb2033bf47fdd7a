"""Reads a playbook and checks it whole, before its first step: everything that is wrong, with its line."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from opsctl.model.errors import ConfigError
from opsctl.model.playbook import (
    KINDS,
    JobSpec,
    Late,
    Parameter,
    Playbook,
    PlayStep,
    Undo,
    Variable,
)
from opsctl.model.playbook_format import NAME, PLAYBOOK_KEYS, STEP_KEYS, UNDO_KEYS, VAR_KEYS
from opsctl.model.playbook_values import Hidden, put_in, sample
from opsctl.model.playbook_words import Words, one_of
from opsctl.model.stackfile_problem import Path, Problem, config_error, nearest
from opsctl.model.stackfile_yaml import read_yaml


def read_playbook(
    text: str, *, name: str, file: str, jobs: Mapping[str, JobSpec], values: Mapping[str, Any] | None = None
) -> Playbook:
    """The playbook in a file's text; `values` are those of its variables, samples stand in for missing ones.

    Raises ConfigError with everything that is wrong, each with its line.
    """
    document = read_yaml(text, file)
    if not isinstance(document.data, dict):
        document.problem((), "not a playbook", expected="version: 1, title: …, steps: …")
        raise error_of(document.problems, name)
    reader = _Reader(document, jobs)
    variables = reader.variables()
    given = {each.name: (values or {}).get(each.name, sample(each)) for each in variables.values()}
    book = Playbook(
        name=name,
        file=file,
        title=reader.text(("title",), required=True),
        about=reader.text(("about",)),
        may_be_down=reader.switch(("droplet_may_be_down",)),
        variables=variables,
        steps=reader.steps(given),
        text=text,
        values={key: value for key, value in given.items() if not isinstance(value, Hidden)},
        digest=hashlib.sha256(text.encode()).hexdigest()[:12],
    )
    reader.top()
    if document.problems:
        raise error_of(document.problems, name)
    return book


def error_of(problems: Sequence[Problem], name: str) -> ConfigError:
    """All problems as one error, with the command that checks again."""
    info = config_error(problems).info
    place = f"{info.path} line {info.line}" if info.line else f"{info.path}"
    again = f"correct {place}, then: opsctl playbook show {name}"
    return ConfigError(info.what, why=info.why, next=again, path=info.path, line=info.line)


class _Reader(Words):
    """Goes through a document; what is wrong is noted and does not end it."""

    # The top

    def top(self) -> None:
        """Keys that must be there, and keys that nobody knows."""
        self._known(self._data, (), PLAYBOOK_KEYS)
        if "version" not in self._data:
            self._wrong((), "there is no version", "version: 1")
        elif self._data["version"] != 1:
            self._wrong(("version",), f"version {self._data['version']} is not known here", "1")

    def text(self, path: Path, *, required: bool = False) -> str:
        """A text at the top."""
        value = self._data.get(str(path[0]))
        if value is None and not required:
            return ""
        if not isinstance(value, str) or not value.strip():
            self._wrong(path if value is not None else (), f"there is no {path[0]}", "a text")
            return ""
        return " ".join(value.split())

    def switch(self, path: Path) -> bool:
        """A switch at the top."""
        value = self._data.get(str(path[0]), False)
        if not isinstance(value, bool):
            self._wrong(path, f"{value!r} is not allowed", "true or false")
        return value is True

    # Variables

    def variables(self) -> dict[str, Variable]:
        """What `vars` declares."""
        declared = self._data.get("vars") or {}
        if not isinstance(declared, dict):
            self._wrong(("vars",), "not a mapping", "NAME: {type: …}")
            return {}
        return {name: self._variable(name, entry) for name, entry in declared.items()}

    def _variable(self, name: str, entry: Any) -> Variable:
        path, line = ("vars", name), self._document.line(("vars", name))
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in Late.KINDS:
            reserved = name in Late.KINDS
            self._wrong(path, "the name is taken" if reserved else f"{name!r} is not a name", "a_word")
        entry = entry if isinstance(entry, dict) else {"type": entry}
        self._known(entry, path, VAR_KEYS)
        kind, at = entry.get("type"), (*path, "type")
        if kind not in KINDS:
            near = nearest(str(kind), KINDS)
            self._wrong(at, f"the type {kind} is not known" if kind else "there is no type", one_of(KINDS), near)
            return Variable(name, "text", line=line)
        if kind == "secret":
            if "default" in entry:
                self._wrong((*path, "default"), "a secret has no default", "env: NAME, the environment's variable")
            env = entry.get("env")
            if not isinstance(env, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", env):
                self._wrong((*path, "env"), "a secret wants the name of a variable", "env: LANGSMITH_API_KEY")
            return Variable(name, "secret", about=str(entry.get("about", "")), env=str(env), line=line)
        if "env" in entry:
            self._wrong((*path, "env"), "only a secret is read from the environment", "type: secret")
        choices = tuple(map(str, entry.get("choices") or ()))
        default = entry.get("default")
        if default is not None:
            default = self._typed(default, Parameter(kind, "", choices=choices), (*path, "default"))
        return Variable(name, kind, default, str(entry.get("about", "")), choices, line=line)

    # Steps

    def steps(self, values: Mapping[str, Any]) -> tuple[PlayStep, ...]:
        """All steps, in the file's order."""
        self._values = values
        listed = self._data.get("steps")
        if not isinstance(listed, list) or not listed:
            self._wrong(("steps",) if "steps" in self._data else (), "there are no steps", "steps: [{id: …, job: …}]")
            return ()
        found: list[PlayStep] = []
        for number, entry in enumerate(listed):
            path: Path = ("steps", number)
            if not isinstance(entry, dict):
                self._wrong(path, "not a mapping", "a step: {id: …, job: …}")
                continue
            found.append(self._step(entry, path, found))
        self._order(found)
        return tuple(found)

    def _step(self, entry: dict[str, Any], path: Path, before: list[PlayStep]) -> PlayStep:
        self._known(entry, path, STEP_KEYS)
        name = entry.get("id")
        if not isinstance(name, str) or not re.fullmatch(NAME, name):
            self._wrong((*path, "id") if "id" in entry else path, "a step wants an id", "a word like start-agents")
            name = f"step-{path[-1]}"
        if any(each.id == name for each in before):
            first = next(each.line for each in before if each.id == name)
            self._wrong((*path, "id"), f"the id {name} is given twice (first on line {first})", "each id once")
            name = f"step-{path[-1]}"
        call, approve = self._call(entry, path), entry.get("approve", "")
        if "approve" in entry and (not isinstance(approve, str) or not approve.strip()):
            self._wrong((*path, "approve"), "there is no question", "the question that a person answers")
        probe = self._checks(entry, path, "probe")
        if approve and "job" in entry:
            self._wrong((*path, "approve"), "a step has a job or asks for approval, not both", "two steps")
        if approve and (probe or "always" in entry):
            self._wrong((*path, "probe"), "a question to a person has no probe", "a `precondition`")
        if not {"approve", "job", "probe"} & set(entry):
            self._wrong(path, f"step {name} does nothing", "a job, a probe, or approve")
        approve = put_in(approve, (*path, "approve"), self._values, self._tell) if approve else ""
        return PlayStep(
            id=name,
            title=str(entry.get("title", "") or (str(call) if call else "") or name),
            line=self._document.line(path),
            droplet=self._droplet(entry, path),
            needs=self._needs(entry, path, before),
            precondition=self._checks(entry, path, "precondition"),
            otherwise=self._otherwise(entry, path),
            call=call,
            approve=" ".join(str(approve).split()),
            probe=probe,
            always=self._is(entry, path, "always"),
            undo=self._undo(entry, path),
            may_fail=self._is(entry, path, "may_fail"),
        )

    def _droplet(self, entry: dict[str, Any], path: Path) -> str:
        if "droplet" not in entry:
            return ""
        at = (*path, "droplet")
        found = put_in(entry["droplet"], at, self._values, self._tell)
        return "" if found == "" else str(self._typed(found, Parameter("droplet", ""), at) or "")

    def _needs(self, entry: dict[str, Any], path: Path, before: list[PlayStep]) -> tuple[str, ...]:
        if "needs" not in entry:
            return (before[-1].id,) if before else ()
        wanted = entry["needs"]
        wanted = [wanted] if isinstance(wanted, str) else wanted or []
        if not isinstance(wanted, list) or not all(isinstance(each, str) for each in wanted):
            self._wrong((*path, "needs"), "not a list of ids", "ids of other steps")
            return ()
        return tuple(dict.fromkeys(wanted))

    def _otherwise(self, entry: dict[str, Any], path: Path) -> Literal["stop", "skip"]:
        value, at = entry.get("otherwise", "stop"), (*path, "otherwise")
        if value not in ("stop", "skip"):
            self._wrong(at, f"{value!r} is not known", "stop or skip", nearest(str(value), ("stop", "skip")))
        if "otherwise" in entry and "precondition" not in entry:
            self._wrong(at, "there is no precondition", "a `precondition` that may not hold")
        return "skip" if value == "skip" else "stop"

    def _is(self, entry: dict[str, Any], path: Path, key: str) -> bool:
        value = entry.get(key, False)
        if not isinstance(value, bool):
            self._wrong((*path, key), f"{value!r} is not allowed", "true or false")
        if value is True and "job" not in entry:
            self._wrong((*path, key), f"`{key}` without a job", "a step with a job")
        return value is True

    def _undo(self, entry: dict[str, Any], path: Path) -> Undo | None:
        if "undo" not in entry:
            return None
        undo, at = entry["undo"], (*path, "undo")
        if "job" not in entry:
            self._wrong(at, "an undo of nothing: the step has no job", "a step with a job")
        if not isinstance(undo, dict) or "job" not in undo:
            self._wrong(at, "an undo has no job", "{job: {…}, probe: […]}")
            return None
        self._known(undo, at, UNDO_KEYS)
        call = self._call(undo, at, late=True)
        if call is not None and not self._jobs[call.job].changes:
            self._wrong((*at, "job"), f"{call.job} only reads: it takes nothing back", "a job that changes something")
        return Undo(call, self._checks(undo, at, "probe", late=True)) if call else None

    def _order(self, steps: Sequence[PlayStep]) -> None:
        names = {step.id: step for step in steps}
        for step in steps:
            at = self._at(step, "needs")
            for need in step.needs:
                if need == step.id:
                    self._wrong(at, f"step {need} needs itself", "another step")
                elif need not in names:
                    self._wrong(at, f"there is no step {need}", one_of(names), nearest(need, names))
        if circle := _circle(names):
            way = " → ".join((*circle, circle[0]))
            self._wrong(self._at(names[circle[0]], "needs"), f"a circle: {way}", "an order")

    def _at(self, step: PlayStep, key: str) -> Path:
        listed = enumerate(self._data["steps"])
        number = next((n for n, each in listed if isinstance(each, dict) and each.get("id") == step.id), 0)
        return ("steps", number, key)


def _circle(steps: Mapping[str, PlayStep]) -> tuple[str, ...]:
    """The steps of one circle in `needs`; empty where there is none."""
    done: set[str] = set()

    def walk(name: str, way: tuple[str, ...]) -> tuple[str, ...]:
        if name in way:
            return way[way.index(name) :]
        if name in done or name not in steps:
            return ()
        for need in steps[name].needs:
            if need != name and (found := walk(need, (*way, name))):
                return found
        done.add(name)
        return ()

    return next((found for name in steps if (found := walk(name, ()))), ())
