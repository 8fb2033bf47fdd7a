"""What changes of each service between two resolved configurations, without any value of a secret. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from opsctl.model.units import parse_size, show_size

# Whose values say nothing secret; of everything else only that it changed is said.
_SHOWN = ("restart", "cpus", "network_mode", "stop_grace_period", "platform")
_SKIP = ("image", "environment", "deploy", "logging", "ports", "volumes", "mem_limit", "depends_on", "x-opsctl")


def changes(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The differences of one service in words."""
    if not old or not new:
        return ()
    return (
        *_image(old, new),
        *_environment(old, new),
        *_pair("memory limit", _memory(old), _memory(new)),
        *_pair("cpus", _cpus(old), _cpus(new)),
        *_pair("logging", _logging(old), _logging(new)),
        *_lists("port", _ports(old), _ports(new)),
        *_lists("mount", _mounts(old), _mounts(new)),
        *_lists("depends on", old.get("depends_on") or (), new.get("depends_on") or ()),
        *_rest(old, new),
    )


def _image(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return _pair("image", str(old.get("image") or "(built)"), str(new.get("image") or "(built)"))


def _pair(what: str, old: str, new: str) -> list[str]:
    return [] if old == new else [f"{what} {old or 'none'} → {new or 'none'}"]


def _environment(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    before, after = old.get("environment") or {}, new.get("environment") or {}
    if not isinstance(before, Mapping) or not isinstance(after, Mapping):
        return []
    said = [f"env +{name}" for name in after if name not in before]
    said += [f"env -{name}" for name in before if name not in after]
    return said + [f"env ~{name}" for name in after if name in before and before[name] != after[name]]


def drifted(running: Mapping[str, str], brought: Collection[str], body: Mapping[str, Any]) -> tuple[str, ...]:
    """What differs between the variables that a container runs with, some `brought` by its image, and the new ones."""
    environment = body.get("environment") or {}
    if not isinstance(environment, Mapping):
        return ()
    wanted = {name: str(value).replace("$$", "$") for name, value in environment.items() if value is not None}
    said = [f"env +{name}" for name in wanted if name not in running]
    said += [f"env -{name}" for name in running if name not in wanted and name not in brought]
    return (*said, *[f"env ~{name}" for name in wanted if name in running and running[name] != wanted[name]])


def _limits(body: Mapping[str, Any]) -> Mapping[str, Any]:
    return (((body.get("deploy") or {}).get("resources") or {}).get("limits")) or {}


def _memory(body: Mapping[str, Any]) -> str:
    value = _limits(body).get("memory") or body.get("mem_limit")
    try:
        return show_size(parse_size(value)) if value else ""
    except ValueError:
        return str(value)


def _cpus(body: Mapping[str, Any]) -> str:
    return str(_limits(body).get("cpus") or "")


def _logging(body: Mapping[str, Any]) -> str:
    logging = body.get("logging") or {}
    # Some drivers take tokens: only what bounds the size is shown.
    options = logging.get("options") or {}
    shown = [f"{name} {options[name]}" for name in ("max-size", "max-file") if name in options]
    more = [name for name in sorted(options) if name not in ("max-size", "max-file")]
    return ", ".join([str(logging.get("driver") or ""), *shown, *more]) if logging else ""


def _ports(body: Mapping[str, Any]) -> list[str]:
    return [
        f"{each['host_ip'] + ':' if each.get('host_ip') else ''}{each.get('published') or ''}:{each.get('target')}"
        for each in body.get("ports") or ()
        if isinstance(each, Mapping)
    ]


def _mounts(body: Mapping[str, Any]) -> list[str]:
    return [
        f"{each.get('source') or each.get('type')}:{each.get('target')}{':ro' if each.get('read_only') else ''}"
        for each in body.get("volumes") or ()
        if isinstance(each, Mapping)
    ]


def _lists(what: str, old: Iterable[str], new: Iterable[str]) -> list[str]:
    before, after = list(old), list(new)
    return [f"{what} +{each}" for each in after if each not in before] + [
        f"{what} -{each}" for each in before if each not in after
    ]


def _rest(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    said: list[str] = []
    for key in sorted({*old, *new}):
        if key in _SKIP or old.get(key) == new.get(key):
            continue
        if key in _SHOWN:
            said += _pair(key, str(old.get(key) or ""), str(new.get(key) or ""))
        else:
            said.append(f"{key} changed")
    return said
