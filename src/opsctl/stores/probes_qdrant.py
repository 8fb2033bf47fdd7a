"""What probes ask a Qdrant server: is it ready, and how are its collections."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from opsctl.model.cancel import Cancel
from opsctl.model.errors import StepFailed
from opsctl.model.measures import Measure, Question
from opsctl.model.qdrant_collection import CollectionSpec
from opsctl.model.store import Target
from opsctl.stores.qdrant_rest import Refusal, Rest, path_of

_WORDS = {"green": "green", "yellow": "yellow, being optimised", "grey": "grey, to be optimised", "red": "red"}


def measure_qdrant(target: Target, question: Question, cancel: Cancel) -> Mapping[str, Measure]:
    """The measures asked for. Raises UnreachableError, StepFailed for a collection that is not there."""
    rest = Rest(target, patience=0.0)  # a probe says how it is now
    try:
        begin = time.monotonic()
        rest.get("/readyz", cancel=cancel)
        ready = time.monotonic() - begin
        names = [question.collection] if question.collection else _names(rest, cancel)
        infos = {name: rest.get(path_of(name), cancel=cancel) for name in names}
    except Refusal as refusal:
        raise StepFailed(f"Qdrant at {target.shown}: {refusal.words}", next="opsctl config show") from None
    finally:
        rest.close()
    found = {"ready": Measure(ready), **measures(infos)}
    return {name: found[name] for name in question.names if name in found}


def measures(infos: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Measure]:
    """What the descriptions of some collections come to. Pure."""
    sick = {name: said for name, info in infos.items() if (said := _sick(info))}
    busy = {
        name: _WORDS.get(info["status"], info["status"]) for name, info in infos.items() if info["status"] != "green"
    }
    points = sum(info.get("points_count") or 0 for info in infos.values())
    said = ", ".join(f"{name} {info.get('points_count') or 0:,}" for name, info in infos.items())
    return {
        "healthy": Measure(float(not sick), _said(sick or busy)),
        "green": Measure(float(not busy), _said(busy)),
        "points": Measure(float(points), said if len(infos) > 1 else ""),
        "indexed": _indexed(infos),
    }


def _sick(info: Mapping[str, Any]) -> str:
    if info["status"] == "red":
        return "red"
    optimizer = info.get("optimizer_status", "ok")
    return "" if optimizer == "ok" else f"failing: its optimizer says {optimizer.get('error', optimizer)}"


def _said(of: Mapping[str, str]) -> str:
    return ", ".join(f"{name} is {said}" for name, said in of.items())


def _indexed(infos: Mapping[str, Mapping[str, Any]]) -> Measure:
    """A collection is not indexed below a size, so one that is small says nothing."""
    wanted = indexed = 0
    for name, info in infos.items():
        points = info.get("points_count") or 0
        dense = len(CollectionSpec.of(name, info).dense())
        wanted += points * dense
        indexed += min(info.get("indexed_vectors_count") or 0, points * dense)
    if not wanted:
        return Measure(None, "there are no vectors")
    return Measure(indexed / wanted, f"{indexed:,} of {wanted:,}; what is small is not indexed")


def _names(rest: Rest, cancel: Cancel) -> list[str]:
    return sorted(each["name"] for each in rest.get("/collections", cancel=cancel)["collections"])
