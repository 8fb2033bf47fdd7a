"""The proof after a boot: what compose says is known by then, and the containers are looked at all the same."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import cast

import pytest
from tests.jobs.startup_facts import DROPLET, compose, container, facts, stack
from tests.jobs.test_why import facts as died

from opsctl.jobs.call import Call
from opsctl.jobs.criteria import read
from opsctl.model.cancel import Cancel
from opsctl.model.engine import Container
from opsctl.model.operate import DropletFacts
from opsctl.model.ports import Shell
from opsctl.model.stack import Service, Stack
from opsctl.model.why import WhyFacts

STACK = stack(Service("a", phase=1))
KNOWN = facts([compose("a")], [container("a", "exited", exit_code=1)])


@dataclass
class Droplet:
    """A droplet that is asked, and whose engine counts how often."""

    now: WhyFacts
    whole: DropletFacts
    reads: int = 0
    stack: Stack = field(default=STACK)
    droplet = DROPLET

    @property
    def engine(self) -> Droplet:
        return self

    def facts(self, *, cancel: Cancel) -> DropletFacts:
        self.reads += 1
        return self.whole

    def read(self, shell: Shell, *, service: str, cancel: Cancel) -> WhyFacts:
        return self.now


def look(droplet: Droplet, known: DropletFacts | None) -> DropletFacts | None:
    return read(cast(Call, droplet), cast(Shell, None), droplet, cancel=Cancel(5), known=known).facts


def at(*containers: Container, engine_error: str = "") -> WhyFacts:
    return replace(died(), containers=containers, engine_error=engine_error)


def test_a_container_is_as_it_is_seen_now_and_not_as_it_was_known() -> None:
    up = container("a")
    droplet = Droplet(at(up), KNOWN)
    seen = look(droplet, KNOWN)
    assert seen == replace(KNOWN, containers=(up,))
    assert droplet.reads == 0, "compose was not asked again"


@pytest.mark.parametrize(
    ("now", "known"),
    [(at(), KNOWN), (at(container("a"), engine_error="gone"), KNOWN), (at(container("a")), None)],
    ids=["gone", "engine", "unknown"],
)
def test_what_is_not_known_for_sure_is_read_whole(now: WhyFacts, known: DropletFacts | None) -> None:
    whole = facts([compose("a")], [])
    droplet = Droplet(now, whole)
    assert look(droplet, known) == whole
    assert droplet.reads == 1
