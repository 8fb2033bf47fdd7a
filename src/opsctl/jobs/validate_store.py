"""A probe of a data store: its measures, and whether they are within their bounds."""

from __future__ import annotations

from collections.abc import Mapping

from opsctl.model.cancel import Cancel
from opsctl.model.measures import MEASURES, Gauges, Measure, Question, holds, show
from opsctl.model.probing import ProbeResult
from opsctl.model.stack import Probe


def ask_store(gauges: Gauges, probe: Probe, cancel: Cancel) -> ProbeResult:
    """Ask the store once, and judge. Raises as `Gauges.measure`."""
    question = Question(probe.store, tuple(probe.expect), probe.collection, probe.text("url"))
    return judge_measures(probe, gauges.measure(question, cancel=cancel, timeout=probe.within))


def judge_measures(probe: Probe, found: Mapping[str, Measure]) -> ProbeResult:
    """Whether every measure is within its bound. Pure.

    What a store cannot say has not passed where the stack file asks for it, and is left out where it does not.
    """
    good: list[str] = []
    bad: list[str] = []
    for name, bound in probe.expect.items():
        asked = MEASURES[probe.store_kind][name]
        measure = found.get(name, Measure(None, "it does not tell"))
        label = name.replace("_", " ")
        if measure.value is None:
            (bad if probe.explicit else good).append(f"{label}: {measure.said}")
            continue
        more = f" ({measure.said})" if measure.said else ""
        shown = f"{label} {show(asked.unit, measure.value)}{more}"
        if holds(asked, measure.value, bound):
            good.append(shown)
        else:
            wanted = "" if asked.unit == "yes" else f"at {asked.bound} "
            bad.append(f"{shown}, not {wanted}{show(asked.unit, bound)}")
    return ProbeResult(probe.name, "store", not bad, "; ".join([*bad, *good]), 0.0)
