"""Which images a deploy fetches, and which references a rollback turns back. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from opsctl.jobs.deploy_drift import image_id, image_of, tagged
from opsctl.model.deploy import Release, Survey
from opsctl.model.errors import StepFailed
from opsctl.model.stack import Droplet, Stack


def retags(survey: Survey, release: Release | None, images: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """Reference and image id of a release where they mean another image now; `images` learns of it.

    Raises StepFailed for an image that is gone.
    """
    found = []
    for each in release.images if release else ():
        if each.service not in survey.facts.compose or image_id(images, each.ref) == each.id:
            continue
        if each.id not in survey.images.values():
            raise StepFailed(
                f"the image with which {each.service} ran then is gone: {each.ref}",
                why=f"nothing on the droplet means {each.id[:19]} any more",
                next=f"on the droplet: docker pull {each.digest.split(',')[0] or each.ref}",
                code="image-missing",
            )
        found.append((each.ref, each.id))
        images[tagged(each.ref)] = each.id
    return tuple(dict.fromkeys(found))


def to_fetch(
    survey: Survey,
    stack: Stack,
    droplet: Droplet,
    images: Mapping[str, str],
    recreate: Mapping[str, str],
    *,
    pull: bool,
    build: bool,
    again: str,
) -> dict[str, tuple[str, ...]]:
    """`pull` and `build` → services. Raises StepFailed for images that are missing and not to be fetched.

    `again` is the command that can fetch them when it is told to; "" for none.
    """
    compose = survey.facts.compose
    wanted = {
        "pull": tuple(name for name, each in compose.items() if pull and not each.has_build),
        "build": tuple(name for name, each in compose.items() if build and each.has_build),
    }
    fetched = {name for names in wanted.values() for name in names}
    for name, each in compose.items():
        known, absent = stack.services.get(name), survey.facts.of(name) is None
        # What has no phase and no container is nobody's to create.
        if absent and (known is None or known.phase is None or known.optional):
            continue
        lacking = (absent or name in recreate) and not image_id(images, image_of(survey, name))
        if lacking and name not in fetched:
            raise StepFailed(
                f"the image of {name} is not on {droplet.name}: {image_of(survey, name)}",
                why="a deploy neither pulls nor builds unless it is told to",
                next=f"{again} --{'build' if each.has_build else 'pull'}"
                if again
                else f"on the droplet: docker pull {image_of(survey, name)}",
                code="image-missing",
            )
    return {verb: names for verb, names in wanted.items() if names}
