"""Docker's disk, from the engine's own account and from statvfs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Set
from typing import Any

from opsctl.model.memory_facts import DiskFacts, DiskUse, Filesystem


def parse_disk(text: str, filesystems: str, *, used_images: Set[str], logs: int | None) -> DiskFacts:
    """What the engine answered about its disk: a line of JSON, then `@asked WHAT STATUS`. No answer is None."""
    images = volumes = cache = None
    for asked, answer in _answers(text):
        if asked in ("all", "images"):
            images, cache = _images(answer, used_images), _build_cache(answer)
        if asked in ("all", "volumes"):
            volumes = _volumes(answer)
    return DiskFacts(parse_filesystems(filesystems), images, volumes, cache, logs)


def parse_filesystems(text: str) -> tuple[Filesystem, ...]:
    """Lines of `stat -f -c '%S %b %f %a %i %n'`; one entry a file system, the first path naming it."""
    found: dict[str, Filesystem] = {}
    for line in text.splitlines():
        words = line.split(maxsplit=5)
        if len(words) == 6 and all(word.isdigit() for word in words[:4]):
            block, blocks, free, available = map(int, words[:4])
            place = Filesystem(words[5], block * blocks, block * (blocks - free), block * available)
            # One disk mounted twice has the same numbers, under whatever id.
            found.setdefault(" ".join(words[:4]), place)
    return tuple(found.values())


def parse_logs(text: str) -> dict[str, int]:
    """Bytes of log files by container id, rotated ones included, from `stat -c '%s %n'`."""
    sizes: dict[str, int] = {}
    for line in text.splitlines():
        size, _, path = line.partition(" ")
        parts = path.split("/")
        if size.isdigit() and "containers" in parts[:-2]:
            owner = parts[parts.index("containers") + 1]
            sizes[owner] = sizes.get(owner, 0) + int(size)
    return sizes


def _answers(text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    body = ""
    for line in text.splitlines():
        if not line.startswith("@asked "):
            body = line or body
            continue
        _, asked, status = line.split()
        if status == "200" and (answer := parse_json(body)) is not None:
            yield asked, answer
        body = ""


def _images(answer: Mapping[str, Any], used: Set[str]) -> DiskUse | None:
    if usage := _summary(answer.get("ImageUsage")):
        return usage
    images = answer.get("Images") or []
    free = [each for each in images if each.get("Containers", 0) <= 0 and each.get("Id") not in used]
    # Layers can be shared with an image in use: only what is an unused image's own is sure to come free.
    sure = sum(max(0, each.get("Size", 0) - max(0, each.get("SharedSize", 0))) for each in free)
    return DiskUse(len(images), int(answer.get("LayersSize") or 0), sure)


def _volumes(answer: Mapping[str, Any]) -> DiskUse | None:
    if usage := _summary(answer.get("VolumeUsage")):
        return usage
    volumes = [each.get("UsageData") or {} for each in answer.get("Volumes") or []]
    if any(each.get("Size", -1) < 0 for each in volumes):
        return None  # a driver that cannot say: the sum would be too small
    unused = sum(each["Size"] for each in volumes if not each.get("RefCount"))
    return DiskUse(len(volumes), sum(each["Size"] for each in volumes), unused)


def _build_cache(answer: Mapping[str, Any]) -> DiskUse | None:
    if usage := _summary(answer.get("BuildCacheUsage")):
        return usage
    records = answer.get("BuildCache") or []
    own = [each for each in records if not each.get("Shared")]
    free = sum(each.get("Size", 0) for each in own if not each.get("InUse"))
    return DiskUse(len(records), sum(each.get("Size", 0) for each in own), free)


def _summary(usage: Mapping[str, Any] | None) -> DiskUse | None:
    """The form of API 1.52 and later."""
    if not usage or "TotalSize" not in usage:
        return None
    return DiskUse(usage.get("TotalCount", 0), usage["TotalSize"], usage.get("Reclaimable", 0))


def parse_json(line: str) -> Any:
    """The value, or None for what is no JSON (cut off by the time limit)."""
    try:
        return json.loads(line)
    except ValueError:
        return None
