"""Each gate asked once: for reads that want to know now, not to wait."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing
from dataclasses import replace

from opsctl.model.cancel import Cancel
from opsctl.model.engine import ProbeSpec, ProbeState, StackFacts
from opsctl.model.errors import DeadlineExceeded
from opsctl.model.operate import Operator
from opsctl.model.ports import Shell
from opsctl.model.stack import Gate, Stack

_GRACE = 10.0  # s beyond the patience, for the probe itself


def specs(
    facts: StackFacts, stack: Stack, *, patience: float, only: Collection[str] | None = None
) -> tuple[ProbeSpec, ...]:
    """The gate of each service that runs and has one, with `patience` seconds to answer in."""
    found = []
    for name, service in stack.services.items():
        container = facts.of(name)
        if container is None or container.status != "running" or (only is not None and name not in only):
            continue
        test = container.health_test or (facts.compose[name].health_test if name in facts.compose else ())
        gate = replace(service.gate, within=patience)
        if gate != Gate(within=patience) or test:
            found.append(ProbeSpec(name, container.id, gate, test, container.ports))
    return tuple(found)


def ask(
    engine: Operator, shell: Shell, wanted: tuple[ProbeSpec, ...], *, cancel: Cancel, grace: float = 0.7
) -> dict[str, ProbeState]:
    """The last state of each gate, side by side; as long as the slowest takes, but never beyond its patience.

    A gate that was not answered once has `grace` seconds more.
    """
    if not wanted:
        return {}
    bound = max(each.gate.within for each in wanted) + grace + _GRACE
    script = engine.probe(wanted, interval=0.2, tolerant=frozenset(each.service for each in wanted), grace=grace)
    stream = shell.stream(script, cancel=cancel, timeout=bound)
    states: dict[str, ProbeState] = {}
    open_ = {each.service for each in wanted}
    try:
        with closing(stream):  # type: ignore[type-var]
            for line in stream:
                if state := engine.parse_probe(line):
                    states[state.service] = state
                    if state.state != "waiting":
                        open_.discard(state.service)
                if not open_:  # a probe that hangs in a container would keep the rest waiting
                    break
    except DeadlineExceeded:
        return states
    return states
