"""What a deploy changes, in words. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from opsctl.jobs.deploy_diff import changes, drifted
from opsctl.jobs.deploy_drift import orphans
from opsctl.model.deploy import Release, ServiceDiff, Source, Survey


def said(source: Source) -> str:
    """Where a release came from."""
    if source.kind == "push" and source.bundle:
        return f"pushed {source.bundle.origin}"
    return f"ref {source.ref}" if source.kind == "ref" else "the files on the droplet"


def diffs(
    survey: Survey,
    recreate: Mapping[str, str],
    restart: Mapping[str, str],
    maybe: Collection[str],
    *,
    removing: bool,
) -> tuple[ServiceDiff, ...]:
    """What changes of every service, and what becomes of its container."""
    old, new = (model.get("services") or {} for model in (survey.old_model, survey.model))
    left = {each.service for each in orphans(survey)}
    found = []
    for name in dict.fromkeys([*new, *old, *sorted(left)]):
        words = changes(old.get(name), new.get(name))
        container = survey.facts.of(name)
        if name in recreate and container is not None and container.id in survey.envs:
            more = drifted(*survey.envs[container.id], new.get(name) or {})
            words = (*words, *[each for each in more if each not in words])
        if name in recreate:
            found.append(ServiceDiff(name, "recreate", recreate[name], words))
        elif name in restart:
            found.append(ServiceDiff(name, "restart", f"{restart[name]} changes", words))
        elif name in maybe:
            found.append(ServiceDiff(name, "recreate", "if the image is another one", words))
        elif name in left:
            found.append(ServiceDiff(name, "remove" if removing else "orphan", "the file no longer has it", words))
        elif name in new and name not in old:
            found.append(ServiceDiff(name, "create", "new in the file", words))
        elif words:
            found.append(ServiceDiff(name, "", "", words))
    return tuple(found)


def notes(
    survey: Survey,
    source: Source,
    recreate: Mapping[str, str],
    rest: Sequence[str],
    unfinished: Release | None,
    *,
    removing: bool,
) -> list[str]:
    """What is worth saying beside the plan."""
    found = []
    left = [each.service for each in orphans(survey)]
    if left and not removing:
        found.append(f"{', '.join(left)}: no longer in the compose file, left as it is; --remove-orphans removes it")
    if rest:
        found.append(f"{', '.join(rest)}: not running, and stays so (opsctl startup --only {rest[0]})")
    if source.bundle and source.bundle.mended:
        found.append(f"CRLF line ends mended in {', '.join(source.bundle.mended)}")
    if source.bundle and source.bundle.left_out:
        found.append(f"not pushed: {', '.join(source.bundle.left_out)}")
    if not any(each.current for each in survey.releases) and source.kind == "place" and recreate:
        found.append("the compose file was edited before opsctl kept it: what it was before cannot be brought back")
    if unfinished:
        found.append(f"goes on where {unfinished.id} was cut short")
    return found
