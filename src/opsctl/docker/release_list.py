"""The releases that a droplet keeps, as its scripts list them. Pure."""

from __future__ import annotations

import json
from typing import Any

from opsctl.model.deploy import Release, ReleaseImage
from opsctl.model.engine import Begun


def parse_releases(text: str) -> tuple[Release, ...]:
    """The listing of `releases_list`, the newest first; a line that is none is left out."""
    current, back, now = "", list[str](), dict[str, str]()
    found: list[dict[str, Any]] = []
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        if word == "current":
            current = rest.strip()
        elif word == "back":
            back = rest.split()
        elif word == "release":
            ident, _, status = rest.partition(" ")
            found.append({"id": ident, "status": status, "meta": {}, "images": [], "files": []})
        elif word == "meta" and found:
            found[-1]["meta"] = _json(rest)
        elif word == "image" and found:
            found[-1]["images"].append(ReleaseImage(*(rest.split("\t") + [""] * 4)[:4]))
        elif word == "file" and found:
            found[-1]["files"].append(rest.split("\t", 4))
        elif word == "now":
            digest, _, path = rest.partition("\t")
            now[path] = digest
    # What was cut short while it was adopted has changed nothing, and is no release.
    releases = [_release(each, current, back, now) for each in found if each["status"] != "adopting"]
    return tuple(sorted(releases, key=lambda each: each.id, reverse=True))


def _release(each: dict[str, Any], current: str, back: list[str], now: dict[str, str]) -> Release:
    meta = each["meta"]
    files = [row for row in each["files"] if len(row) == 5]
    is_current = each["id"] == current
    changed = [row for row in files if is_current and now.get(row[4], "") != row[3]]
    is_back = back[:1] == [each["id"]]
    return Release(
        id=each["id"],
        status="done" if each["status"] == "done" else "begun",
        current=is_current,
        at=str(meta.get("at") or ""),
        by=str(meta.get("user") or ""),
        origin=str(meta.get("from") or ""),
        command=str(meta.get("command") or ""),
        plan=str(meta.get("plan") or ""),
        source=str(meta.get("source") or ""),
        images=tuple(each["images"]),
        files=tuple(row[4] for row in files),
        up=tuple(str(name) for name in meta.get("up") or ()),
        restart=tuple(back[1:] if is_back else map(str, meta.get("restart") or ())),
        git={str(key): str(value) for key, value in (meta.get("git") or {}).items()},
        back=is_back,
        moved=tuple(row[4] for row in changed if row[1] != "env"),
        moved_env=tuple(row[4] for row in changed if row[1] == "env"),
    )


def parse_begun(line: str) -> Begun | None:
    """The release that was begun and is not finished, from the line of the facts about it; None for none."""
    _, _, rest = line.partition(" ")
    head, _, meta = rest.partition(" ")
    if head.count(",") != 3:
        return None
    release, status, current, busy = head.split(",")
    known = _json(meta)
    up = tuple(str(name) for name in known.get("up") or ())
    return Begun(release, status == "back", bool(busy), current, str(known.get("command") or ""), up)


def _json(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
