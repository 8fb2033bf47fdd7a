"""A droplet as it is and as a deploy would leave it: the reading script, and the reading of its answer."""

from __future__ import annotations

import base64
import binascii
import io
import json
import shlex
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from opsctl.docker import facts as reading
from opsctl.docker.compose import ComposeCall, normalised
from opsctl.docker.facts import Section
from opsctl.docker.release_list import parse_releases
from opsctl.model.deploy import Bundle, Checkout, FileKind, Source, StagedFile, Survey
from opsctl.model.errors import ConfigError, StepFailed
from opsctl.model.ports import Script
from opsctl.model.stack import Droplet

_MARK = "@@survey "


@cache
def text_of(name: str) -> str:
    """A script that lies beside this module."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def tar(bundle: Bundle) -> bytes:
    """The files of a bundle, by their whole paths."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, (data, mode) in bundle.files.items():
            info = tarfile.TarInfo("." + path)
            # Whose mode is to stay as it is has none here: whoever is not root must be able to read it all the same.
            info.size, info.mode = len(data), mode or 0o600
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def survey_script(droplet: Droplet, source: Source, call: ComposeCall, *, state_dir: str) -> Script:
    """The script that reads; changes nothing."""
    base = reading.facts_script(droplet, state_dir=state_dir)
    words = call.arguments() if call.files else ()
    fetch = "push" if source.kind == "push" else "fetch" if source.fetch else ""
    return Script(
        text_of("releases.sh") + text_of("survey.sh"),
        (
            state_dir,
            (droplet.socket or "").removeprefix("unix://"),
            source.folder,
            source.ref,
            fetch,
            source.release,
            ",".join(source.kinds),
            base.text,
            text_of("survey_inner.sh"),
            str(len(words)),
            *words,
            *base.args,
        ),
        stdin=tar(source.bundle) if source.bundle else b"",
    )


def split(output: str) -> dict[str, Section]:
    """The parts of the answer by name."""
    found: dict[str, Section] = {}
    name, lines = "", list[str]()
    for line in output.split("\n"):
        if not line.startswith(_MARK):
            lines.append(line)
            continue
        words = line.split()
        if words[1] == "rc":
            found[name] = Section("\n".join(lines).strip("\n"), int(words[2]))
        else:
            name, lines = words[1], []
    return found


def parse_survey(droplet: Droplet, source: Source, output: str) -> tuple[Survey, ComposeCall]:
    """What the script printed. Raises as the reading of facts does, StepFailed, ConfigError."""
    parts = split(output)
    if "after" not in parts:
        raise StepFailed(f"{droplet.name} gave half an answer", why="the reading script ended early", next="try again")
    _refuse_locked(droplet, parts["locked"].text if "locked" in parts else "")
    problem = _problem(parts)
    if parts["after"].code == 88:
        problem = problem or f"the new files cannot be laid over the old ones: {parts['after'].text[-200:]}"
    if problem.startswith("git is not installed"):
        why = "a deploy of a commit, --ref, reads it from a checkout on the droplet"
        raise ConfigError(f"there is no git on {droplet.name}", why=why, next=_mend(source), code="no-git")
    if problem:
        raise StepFailed("the new state cannot be read", why=problem, next=_mend(source), code="not-staged")
    facts, call = reading.parse_facts(droplet, parts["after"].text)
    inner = reading.split(parts["after"].text)
    raw = _document(inner.get("allraw"))
    model = inner["config"].document()
    envs = env_files(raw, call)
    releases = parse_releases(parts["releases"].text if "releases" in parts else "")
    survey = Survey(
        facts=facts,
        hashes=dict(_pairs(inner["hashes"])) if "hashes" in inner and inner["hashes"].code == 0 else {},
        old_model=_document(parts.get("old")),
        model=model,
        old_raw=_document(parts.get("oldraw")),
        raw=raw,
        files=tuple(sorted(_files(parts["files"].text, call, envs), key=lambda each: each.path)),
        images={normalised(ref): ident for ref, ident in _pairs(parts["images"])},
        volumes=dict(_volumes(parts["volumes"].text)),
        mounts={ident: tuple(json.loads(rest)) for ident, rest in _pairs(parts["mounts"])},
        envs=_environments(parts["envs"].text) if "envs" in parts else {},
        releases=releases,
        interpolates=interpolating(call),
        kept_envs=tuple(_files(parts["envfiles"].text, call, envs)) if "envfiles" in parts else (),
        checkout=_checkout(parts["git"].text) if "git" in parts else None,
    )
    return survey, call


def _refuse_locked(droplet: Droplet, text: str) -> None:
    """Raise StepFailed for what this login may not write: half of it would be put, and then no more."""
    user, *paths = [line for line in text.splitlines() if line] or [""]
    if not paths:
        return
    first, more = paths[0], len(set(paths)) - 1
    raise StepFailed(
        f"{user} may not write {first} on {droplet.name}" + (f", nor {more} more" if more else ""),
        why="nothing was changed: a deploy that can put only some of its files is none",
        next=f"docker: {{sudo: always}}   # in the stack file, under {droplet.name}; or let {user} write it, there:\n"
        f"sudo chown -R {shlex.quote(user)}: {shlex.quote(first)}",
        code="not-writable",
    )


def env_files(raw: Mapping[str, Any], call: ComposeCall) -> tuple[str, ...]:
    """Every env file that compose reads: for interpolation, and of the services."""
    folder = _folder(call)
    found = dict.fromkeys(interpolating(call))
    for body in (raw.get("services") or {}).values():
        entries = (body or {}).get("env_file") or ()
        for each in [entries] if isinstance(entries, str) else entries:
            path = str(each.get("path") if isinstance(each, Mapping) else each)
            found[path if path.startswith("/") else f"{folder}/{path}"] = None
    return tuple(found)


def interpolating(call: ComposeCall) -> tuple[str, ...]:
    """The env files whose values compose puts into the compose file."""
    return call.env_files or (f"{_folder(call)}/.env",)


def _folder(call: ComposeCall) -> str:
    return call.working_dir or (call.files[0].rpartition("/")[0] if call.files else "")


def _problem(parts: Mapping[str, Section]) -> str:
    for name in ("git", "back", "push"):
        part = parts.get(name)
        if part is not None and part.code != 0:
            return part.text.splitlines()[-1] if part.text else f"exit status {part.code}"
    return ""


def _mend(source: Source) -> str:
    if source.kind == "ref":
        return "opsctl deploy --push FOLDER   # needs no git on the droplet"
    return "opsctl releases list" if source.kind == "release" else "opsctl doctor"


def _document(section: Section | None) -> dict[str, Any]:
    if section is None or section.code != 0:
        return {}
    try:
        return section.document()
    except ValueError:
        return {}


def _pairs(section: Section) -> list[tuple[str, str]]:
    lines = (line.partition(" ") for line in section.text.splitlines() if " " in line)
    return [(head, rest.strip()) for head, _, rest in lines]


def _volumes(text: str) -> list[tuple[str, Mapping[str, Any]]]:
    found = (json.loads(line) for line in text.splitlines() if line.startswith("{"))
    return [(each["Name"], each) for each in found]


def _environments(text: str) -> dict[str, tuple[Mapping[str, str], frozenset[str]]]:
    """Container id → what it runs with, and the names of what its image brings of that."""
    rows = [line.split(" ", 2) for line in text.splitlines() if line.count(" ") >= 2 and line[-1] in "]l"]
    read = {head: (image, json.loads(rest) or []) for head, image, rest in rows}
    brought = {head: set(pairs) for head, (image, pairs) in read.items() if image == "image"}
    return {
        head: (
            dict(pair.split("=", 1) for pair in pairs if "=" in pair),
            frozenset(pair.partition("=")[0] for pair in pairs if pair in brought.get(image, ())),
        )
        for head, (image, pairs) in read.items()
        if image != "image"
    }


def _files(text: str, call: ComposeCall, envs: tuple[str, ...]) -> list[StagedFile]:
    found = []
    for line in text.splitlines():
        if line.count("\t") < 6:
            continue
        _, old, new, mode, before, after, path = line.split("\t", 6)
        env = path in envs or path in call.env_files or path.endswith(".env") or "/.env" in path
        kind: FileKind = "compose" if path in call.files else "env" if env else "config"
        staged = StagedFile(path, old, new, mode, kind, env)
        found.append(_named(staged, names(before), names(after)) if before or after else staged)
    return found


def _named(staged: StagedFile, before: Mapping[str, str], after: Mapping[str, str]) -> StagedFile:
    return replace(
        staged,
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
        changed=tuple(name for name in after if name in before and before[name] != after[name]),
    )


def names(encoded: str) -> dict[str, str]:
    """The variables of an env file given in base64."""
    try:
        text = base64.b64decode(encoded).decode(errors="replace")
    except (binascii.Error, ValueError):
        return {}
    found = {}
    for line in text.splitlines():
        head, sign, value = line.strip().removeprefix("export ").partition("=")
        if sign and head.strip() and not head.startswith("#"):
            found[head.strip()] = value.strip()
    return found


def _checkout(text: str) -> Checkout:
    lines = [line.partition(" ") for line in text.splitlines()]
    first = {head: rest for head, _, rest in reversed(lines)}
    dirty = tuple(dict.fromkeys(rest for head, _, rest in lines if head == "dirty"))
    return Checkout(
        first.get("top", ""),
        first.get("from", ""),
        first.get("commit", ""),
        first.get("remote", ""),
        first.get("subject", ""),
        dirty,
    )
