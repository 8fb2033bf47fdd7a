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
    if not any(each.current for each in survey.releases) and source.kind == "place":
        found += _lost(survey, recreate)
    if unfinished:
        found.append(f"goes on where {unfinished.id} was cut short")
    return found


def _lost(survey: Survey, recreate: Mapping[str, str]) -> list[str]:
    """What was edited before any release was kept, by what the containers still run with."""
    variables, edited = dict[str, None](), list[str]()
    for name, why in recreate.items():
        if "image" in why or "two containers" in why:
            continue  # the image of before is there yet, and is kept
        container = survey.facts.of(name)
        body = (survey.model.get("services") or {}).get(name) or {}
        words = drifted(*survey.envs[container.id], body) if container and container.id in survey.envs else ()
        variables |= dict.fromkeys(word.partition(" ")[2][1:] for word in words)
        if not words:
            edited.append(name)
    what = [f"the variable{'s' if len(variables) > 1 else ''} {', '.join(variables)}"] if variables else []
    what += [f"the compose file ({', '.join(edited)})"] if edited else []
    after = "what was there before cannot be brought back"
    return [f"{' and '.join(what)}: changed before opsctl kept a release, so {after}"] if what else []


def env_stays(survey: Survey) -> tuple[str, ...]:
    """That a rollback leaves variables as they are, where that makes a difference; names, never values."""
    names = dict.fromkeys(name for each in survey.kept_envs for name in (*each.added, *each.removed, *each.changed))
    if not names:
        return ()
    return (f"env files stay as they are today: {', '.join(names)} (--with-env brings those of then)",)


def goes_back(survey: Survey, source: Source, *, adopted: bool) -> str:
    """The command that goes back after a failed deploy. Env files stay: where they alone changed, it must say so.

    `adopted`: what was there was kept as a release right before, with the env files as they were by then.
    """
    current = next((each for each in survey.releases if each.current), None)
    staged = [each for each in survey.files if each.differs]
    env = any(each.kind == "env" for each in staged) or bool(current and current.moved_env and not adopted)
    checkout = survey.checkout
    moved = checkout is not None and checkout.commit != checkout.now
    other = moved or any(each.kind != "env" for each in staged) or bool(current and current.moved)
    if source.kind == "release" or not env:
        return "opsctl rollback   # goes back"
    if other:
        return "opsctl rollback   # goes back; env files stay as they are, --with-env brings those back, too"
    return "opsctl rollback --with-env   # goes back: only env files differ"
