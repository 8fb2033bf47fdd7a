"""Which containers a new state recreates, and why: compose's own dry run, freed from what it only drags along. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opsctl.model.deploy import Survey
from opsctl.model.engine import Container


def image_of(survey: Survey, service: str) -> str:
    """The reference by which compose finds a service's image."""
    body = (survey.model.get("services") or {}).get(service) or {}
    return str(body.get("image") or f"{survey.facts.project}-{service}")


def tagged(ref: str) -> str:
    """A reference as the engine lists it: no default registry, `latest` spelled out."""
    name = ref.removeprefix("docker.io/").removeprefix("index.docker.io/").removeprefix("library/")
    return name if "@" in name or ":" in name.rsplit("/", 1)[-1] else f"{name}:latest"


def image_id(images: Mapping[str, str], ref: str) -> str:
    """The id that a reference means now; "" for none."""
    return images.get(tagged(ref), "")


def recreated(survey: Survey, images: Mapping[str, str]) -> dict[str, str]:
    """Service → why its container must be recreated. `images`: what references will mean.

    Compose's dry run also names what depends on a recreated service, although a recreate of that alone is stable:
    such a service counts only where its own hash or image differs.
    """
    facts = survey.facts
    found: dict[str, str] = {}
    doubtful = {service for service, _ in survey.half.removes}
    sound = all(
        survey.hashes.get(name) == each.config_hash
        for name in facts.compose
        if name not in facts.drift and name not in doubtful and (each := facts.of(name)) is not None
    )
    for name in facts.compose:
        container = facts.of(name)
        if container is None:
            continue
        why = _why(survey, name, container, images, sound=sound)
        if not why and name in facts.drift and (not sound or not survey.hashes):
            why = "compose says that it differs"
        if not why and name in facts.drift and not _dragged(survey, name):
            why = "compose says that it differs"
        if why:
            found[name] = why
    return found


def _why(survey: Survey, name: str, container: Container, images: Mapping[str, str], *, sound: bool) -> str:
    facts = survey.facts
    if len([c for c in facts.containers if c.service == name and c.project == facts.project and not c.oneoff]) > 1:
        return "there are two containers of it"
    now = image_id(images, image_of(survey, name))
    if now and container.image_id and now != container.image_id:
        return "its image is another one"
    wanted = survey.hashes.get(name, "")
    if sound and wanted and container.config_hash and wanted != container.config_hash:
        return "its configuration differs"
    return ""


def _dragged(survey: Survey, name: str) -> bool:
    """Whether something that it depends on, at any distance, is recreated too."""
    todo, seen = [name], set[str]()
    while todo:
        each = todo.pop()
        for other in survey.facts.compose[each].depends_on if each in survey.facts.compose else ():
            if other in seen:
                continue
            seen.add(other)
            if other in survey.facts.drift:
                return True
            todo.append(other)
    return False


def mounted_changes(survey: Survey) -> dict[str, str]:
    """Service → the changed file that it has mounted: its container must be started anew to see it."""
    changed = [each.path for each in survey.files if each.differs and each.new]
    found: dict[str, str] = {}
    secrets = _file_sources(survey.model, "secrets") | _file_sources(survey.model, "configs")
    for name, body in (survey.model.get("services") or {}).items():
        sources = [str(each.get("source")) for each in (body.get("volumes") or ()) if each.get("type") == "bind"]
        for key in ("secrets", "configs"):
            sources += [
                secrets[f"{key}/{each['source']}"]
                for each in body.get(key) or ()
                if isinstance(each, Mapping) and f"{key}/{each.get('source')}" in secrets
            ]
        for path in changed:
            if any(path == each or path.startswith(each.rstrip("/") + "/") for each in sources):
                found.setdefault(name, path)
    return found


def _file_sources(model: Mapping[str, Any], key: str) -> dict[str, str]:
    entries = model.get(key) or {}
    return {f"{key}/{name}": str(each["file"]) for name, each in entries.items() if (each or {}).get("file")}


def orphans(survey: Survey) -> tuple[Container, ...]:
    """The containers of services that are not in the file any more."""
    facts = survey.facts
    return tuple(
        each
        for each in facts.containers
        if each.project == facts.project and each.service and each.service not in facts.compose and not each.oneoff
    )


def kept_files(survey: Survey, model: Mapping[str, Any], raw: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """What belongs to a release: compose files, env files, mounted single files, and what a deploy put."""
    files = survey.facts.compose_files
    found: dict[str, str] = dict.fromkeys(files, "compose")
    folder = files[0].rpartition("/")[0] if files else ""
    for path in survey.interpolates or (f"{folder}/.env",):
        found.setdefault(path, "env")
    for body in (raw.get("services") or {}).values():
        entries = (body or {}).get("env_file") or ()
        for each in [entries] if isinstance(entries, str) else entries:
            path = str(each.get("path") if isinstance(each, Mapping) else each)
            found.setdefault(path if path.startswith("/") else f"{folder}/{path}", "env")
    for body in (model.get("services") or {}).values():
        for each in body.get("volumes") or ():
            if each.get("type") == "bind" and str(each.get("source")).startswith("/"):
                found.setdefault(str(each["source"]), "config")
    for path in [*_file_sources(model, "secrets").values(), *_file_sources(model, "configs").values()]:
        found.setdefault(path, "config")
    for staged in survey.files:
        found.setdefault(staged.path, staged.kind)
    for release in survey.releases:
        if release.current:
            for path in release.files:
                found.setdefault(path, "config")
    return tuple(sorted(((kind, path) for path, kind in found.items()), key=lambda pair: pair[1]))
