"""What the reading of a deploy's new state is told as, where it did not come."""

from __future__ import annotations

import pytest

from opsctl.docker.survey import parse_survey
from opsctl.model.deploy import Source
from opsctl.model.errors import ConfigError
from opsctl.model.stack import Droplet


def test_a_droplet_without_git_is_no_failed_deploy() -> None:
    said = "@@survey git\ngit is not installed on the droplet\n@@survey rc 3\n@@survey after\n@@survey rc 0\n"
    with pytest.raises(ConfigError) as caught:
        parse_survey(Droplet("prod", "root@203.0.113.7"), Source("ref", ref="v12"), said)
    info = caught.value.info
    assert (info.what, info.code, caught.value.exit_code) == ("there is no git on prod", "no-git", 3)
    assert info.next.startswith("opsctl deploy --push FOLDER")
