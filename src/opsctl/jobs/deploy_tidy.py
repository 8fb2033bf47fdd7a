"""What a compose that was killed in a recreate leaves: a container half renamed, beside the old one or alone. Pure."""

from __future__ import annotations

import re
from dataclasses import replace

from opsctl.jobs.deploy_actions import Tidy
from opsctl.model.deploy import HalfMade, Survey
from opsctl.model.plan import Step

_HALF = re.compile(r"[0-9a-f]{12}_(?P<name>.+)\Z")  # the old container's id, and the name that it is to have


def tidied(survey: Survey) -> Survey:
    """The survey as it is when what is half made is tidied up, and what that takes.

    Compose makes the new container under another name, stops and removes the old one, and renames. While both are there
    it trips over its own name; alone under that name it looks right to compose for ever.
    """
    facts = survey.facts
    own = {each.name: each for each in facts.containers if each.project == facts.project and not each.oneoff}
    removes, renames = list[tuple[str, str]](), list[tuple[str, str]]()
    for name, each in own.items():
        match = _HALF.match(name)
        if match is None or not each.service:
            continue
        old = own.get(match["name"])
        if old is not None and (each.status == "created" or old.status == "running"):
            removes.append((each.service, each.id))
            continue
        if old is not None:
            removes.append((old.service, old.id))
        renames.append((each.id, match["name"]))
    gone, names = {ident for _, ident in removes}, dict(renames)
    left = tuple(replace(each, name=names.get(each.id, each.name)) for each in facts.containers if each.id not in gone)
    half = HalfMade(tuple(removes), tuple(renames))
    return replace(survey, facts=replace(facts, containers=left), half=half) if gone or names else survey


def tidy_step(half: HalfMade) -> Step:
    """The step that tidies up."""
    names = ", ".join([*(service for service, _ in half.removes), *(name for _, name in half.renames)])
    action = Tidy(half.removes, half.renames)
    return Step("tidy", f"tidy up what a killed compose left half made: {names}", action)
