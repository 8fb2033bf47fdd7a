"""What a deploy and a rollback say beside their plans: env files, what cannot be brought back, the way back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.jobs.test_deploy_plan import ALL, CURRENT, PLACE, planned, survey

from opsctl.jobs.deploy_words import env_stays, goes_back, notes
from opsctl.model.deploy import Source, StagedFile

ENV = StagedFile("/.env", "a", "b", "600", "env", True, changed=("KEY",))
COMPOSE = StagedFile("/c.yml", "a", "b", "644", "compose")


def lost(runs_with: dict[str, str], **more: Any) -> list[str]:
    found = survey(*ALL, releases=(), **more)
    body = {**found.model["services"]["app"], "environment": {"KEY": "secret-new"}}
    found = replace(found, model={"services": {**found.model["services"], "app": body}})
    found = replace(found, envs={"id-app": (runs_with, frozenset())})
    return notes(found, PLACE, {"app": "its configuration differs"}, (), None, removing=False)


def test_what_cannot_be_brought_back_is_named_by_what_was_edited() -> None:
    after = ": changed before opsctl kept a release, so what was there before cannot be brought back"
    assert lost({"KEY": "secret-old"}) == [f"the variable KEY{after}"]
    assert lost({"GONE": "1"}) == [f"the variables KEY, GONE{after}"]
    assert lost({"KEY": "secret-new"}) == [f"the compose file (app){after}"]
    kept = survey(*ALL)
    assert notes(kept, PLACE, {"app": "its configuration differs"}, (), None, removing=False) == []
    # The image of before is there yet, and becomes a release.
    fresh = survey(*ALL, releases=())
    assert notes(fresh, PLACE, {"app": "its image is another one"}, (), None, removing=False) == []


def test_a_rollback_names_the_variables_that_stay_as_they_are() -> None:
    assert env_stays(survey(*ALL)) == ()
    assert env_stays(survey(*ALL, kept_envs=(replace(ENV, changed=()),))) == (), "a comment makes no difference"
    more = replace(ENV, path="/app.env", added=("NEW",), removed=("OLD",))
    (said,) = env_stays(survey(*ALL, kept_envs=(ENV, more)))
    assert said == "env files stay as they are today: KEY, NEW, OLD (--with-env brings those of then)"


@pytest.mark.parametrize(
    ("files", "current", "adopted", "says"),
    [
        ((), {"moved_env": ("/.env",)}, False, "opsctl rollback --with-env   #"),
        ((ENV,), {}, False, "opsctl rollback --with-env   #"),
        ((ENV, COMPOSE), {}, True, "opsctl rollback   # goes back; env files stay"),
        ((), {"moved_env": ("/.env",), "moved": ("/c.yml",)}, False, "opsctl rollback   # goes back; env files stay"),
        # Kept right before, with the env file as it is now: those of then are those of now.
        ((COMPOSE,), {"moved_env": ("/.env",)}, True, "opsctl rollback   # goes back"),
        ((COMPOSE,), {}, False, "opsctl rollback   # goes back"),
        ((), {}, False, "opsctl rollback   # goes back"),
    ],
)
def test_the_way_back_says_what_becomes_of_env_files(
    files: tuple[StagedFile, ...], current: dict[str, Any], adopted: bool, says: str
) -> None:
    found = survey(*ALL, files=files, releases=(replace(CURRENT, **current),))
    said = goes_back(found, PLACE, adopted=adopted)
    assert said.startswith(says) and ("env" in said) == ("env" in says)
    assert goes_back(found, Source("release", release="x"), adopted=adopted) == "opsctl rollback   # goes back"


def test_an_env_file_that_was_edited_since_is_kept_only_where_another_is_put() -> None:
    def adopts(*files: StagedFile) -> bool:
        moved = (replace(CURRENT, moved_env=("/.env",), files=("/.env",)),)
        found = survey(
            *ALL, drift=("db",), hashes={"db": "new", "app": "old", "web": "old"}, releases=moved, files=files
        )
        return "adopt" in {step.id for step in planned(found).steps}

    # Else the release to go back to would have the new value, and --with-env would bring back nothing.
    assert not adopts()
    assert adopts(ENV)
