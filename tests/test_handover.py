"""The hand-over of the shared droplet from test to test."""

from __future__ import annotations

import pytest
from tests.conftest import HANDOVER, Droplet

pytestmark = pytest.mark.sandbox


def test_what_a_test_left_broken_is_told_with_its_name_and_mended(
    droplet: Droplet, request: pytest.FixtureRequest
) -> None:
    handover = request.config.stash[HANDOVER]
    handover.give("the guilty one", clean=False)
    assert droplet.opsctl("sandbox", "break", "ssh-down").returncode == 0
    with pytest.warns(pytest.PytestWarning, match=r"the guilty one left .* \(ssh-down\) was not undone.*the next one"):
        handover.give("the next one", clean=True)
    assert droplet.running() == set()
    handover.give(request.node.nodeid, clean=True)  # a warning here would be shown
