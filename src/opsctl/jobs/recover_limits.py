"""What no boot mends, so that none is tried for it. Pure."""

from __future__ import annotations

from opsctl.jobs.criteria import Reading, failed
from opsctl.jobs.recover_link import Story
from opsctl.model.recovery import Criterion

_CODES = {
    "image-missing": "no boot brings an image that is not there",
    "state-folder": "opsctl's folder there cannot be written, so no boot is tried: make room first",
    "no-flock": "no boot brings a program that is not there",
}


def no_boot_helps(story: Story, before: Reading | None, after: Reading | None, criteria: tuple[Criterion, ...]) -> str:
    """Why what is left is nothing that a boot could mend; what was said already, or "", where one may help."""
    if not criteria:
        return story.ended
    if all(each.level == "optimal" for each in failed(criteria)):
        return "what must run does, and no boot is worth the rest"
    if before is not None and before.untouched():
        return "nothing of the stack was ever started here, so no boot brings it back"
    if loops := _only_loops(before, after, criteria):
        return f"{', '.join(loops)} crashes at every start, and no boot mends a program"
    codes = [each.error.code for each in story.climbs if each.error is not None]
    return next((_CODES[code] for code in codes if code in _CODES), story.ended)


def _only_loops(before: Reading | None, after: Reading | None, criteria: tuple[Criterion, ...]) -> tuple[str, ...]:
    """What fails, where all of it are programs that crash at every start."""
    looping = {name for each in (before, after) if each is not None for name in each.looping()}
    bad = tuple(each.name for each in failed(criteria) if each.level == "minimum")
    return bad if set(bad) <= looping else ()
