"""What a probe can ask a data store for, and the bounds that a stack file gives it.

To add one: a line here under its kind of store, and the same name in what `stores/probes_<kind>.py` returns. A kind
that has none yet also wants its two lines in `stores/probes.py`. Nothing else changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from opsctl.model.cancel import Cancel
from opsctl.model.units import parse_duration, parse_size, show_duration, show_size

Unit = Literal["share", "bytes", "seconds", "count", "yes"]


@dataclass(frozen=True)
class Asked:
    """One measure. `usual` is its bound where the stack file names none; None is not asked for without a bound.

    A share is from 0 to 1, a `yes` is 1 or 0; bytes, seconds and counts are what they say.
    """

    unit: Unit
    bound: Literal["least", "most"]
    usual: float | None
    means: str


MEASURES: Mapping[str, Mapping[str, Asked]] = {
    "redis": {
        "hit_rate": Asked("share", "least", 0.8, "look-ups that found something, since it started"),
        "evictions": Asked("count", "most", 0, "keys thrown out for lack of memory, since it started"),
        "memory": Asked("share", "most", 0.9, "used of maxmemory; of the host's where none is set"),
        "persistence": Asked("yes", "least", 1, "what it holds is on disk, and the last write there went well"),
        "keys": Asked("count", "least", None, "keys in its database"),
    },
    "weaviate": {
        "ready": Asked("seconds", "most", 1.0, "until it says that it is ready"),
        "query": Asked("seconds", "most", 0.15, "the 95th percentile of 20 searches, measured now"),
        "query_metric": Asked("seconds", "most", None, "the 95th percentile by its own histogram, since it started"),
        "healthy": Asked("yes", "least", 1, "every node is healthy, and no shard is read-only"),
        "tenants": Asked("count", "least", None, "tenants, in whatever state"),
        "objects": Asked("count", "least", None, "objects of the collection, or of all, in what is active"),
    },
    "qdrant": {
        "ready": Asked("seconds", "most", 1.0, "until it says that it is ready for requests"),
        "healthy": Asked("yes", "least", 1, "no collection is red, and no optimizer has failed"),
        "green": Asked("yes", "least", None, "every collection is green: nothing is left to be optimised"),
        "points": Asked("count", "least", None, "points in the collection, or in all"),
        "indexed": Asked("share", "least", None, "of the dense vectors that are in the index"),
    },
    "postgres": {
        "latency": Asked("seconds", "most", 0.1, "of the least question, on an open connection"),
        "connections": Asked("share", "most", 0.8, "clients, of max_connections"),
        "transaction": Asked("seconds", "most", None, "the age of the oldest transaction: it keeps dead rows alive"),
        "memories": Asked("count", "least", None, "items that a search could fall back on"),
    },
}


@dataclass(frozen=True)
class Question:
    """What to ask a store. `collection` "" is all of it; `metrics` is the URL of its own /metrics, where it has one."""

    store: str
    names: tuple[str, ...]
    collection: str = ""
    metrics: str = ""


@dataclass(frozen=True)
class Measure:
    """What a store answered, in the unit of its `Asked`; `value` None is that it cannot say, `said` why, for people."""

    value: float | None
    said: str = ""


class Gauges(Protocol):
    """Asks the stack's stores. `timeout` in seconds for the whole answer.

    Raises UnreachableError, ConfigError (login refused, store not to be had), StepFailed (not understood).
    """

    def measure(self, question: Question, *, cancel: Cancel, timeout: float) -> Mapping[str, Measure]:
        """The measures of `question.names`; what the store cannot tell may be left out."""
        ...


def parse_bound(unit: Unit, given: object) -> float:
    """A bound as the stack file writes it: 80%, 150ms, 64MB, 1000, true. Raises ValueError with what was expected."""
    text = str(given).strip()
    if unit == "yes":
        if text.lower() not in ("true", "false"):
            raise ValueError(f"{text!r} is not true or false")
        return float(text.lower() == "true")
    if isinstance(given, bool):
        raise ValueError(f"{text.lower()} is not {_EXAMPLES[unit]}")
    try:
        if unit == "share":
            value = float(text.removesuffix("%")) / 100 if text.endswith("%") else float(text)
            if not 0 <= value <= 1:
                raise ValueError
            return value
        if unit == "seconds":
            return parse_duration(text)
        return float(parse_size(text)) if unit == "bytes" else float(text.replace("_", ""))
    except ValueError:
        raise ValueError(f"{text!r} is not {_EXAMPLES[unit]}") from None


_EXAMPLES: Mapping[Unit, str] = {
    "share": "a share, like 80%",
    "seconds": "a time, like 150ms",
    "bytes": "a size, like 64MB",
    "count": "a number, like 1000",
    "yes": "true or false",
}


def bounds(kind: str, given: Mapping[str, object]) -> dict[str, float]:
    """The bounds of a probe of a store of this kind; the usual ones where the stack file names none.

    What cannot be read is left out: `problems` is what says so.
    """
    known = MEASURES.get(kind, {})
    if not given:
        return {name: each.usual for name, each in known.items() if each.usual is not None}
    wrong = {name for name, *_ in problems(kind, given)}
    return {name: parse_bound(known[name].unit, text) for name, text in given.items() if name not in wrong}


def problems(kind: str, given: Mapping[str, object]) -> Iterator[tuple[str, str, Sequence[str]]]:
    """What is wrong with a probe's bounds: the measure, what, and the known ones where it is none of them."""
    known = MEASURES.get(kind, {})
    for name, text in given.items():
        if name not in known:
            yield name, f"{kind} has no such measure", tuple(known)
            continue
        try:
            parse_bound(known[name].unit, text)
        except ValueError as error:
            yield name, str(error), ()


def holds(asked: Asked, value: float, bound: float) -> bool:
    """Whether a value is within its bound. `persistence: false` wants it off."""
    if asked.unit == "yes":
        return value == bound
    return value >= bound if asked.bound == "least" else value <= bound


def show(unit: Unit, value: float) -> str:
    """A value for people."""
    match unit:
        case "share":
            return f"{value * 100:.3g} %"
        case "bytes":
            return show_size(round(value))
        case "seconds":
            return f"{value * 1000:.0f} ms" if value < 1 else show_duration(value)
        case "yes":
            return "yes" if value else "no"
        case "count":
            return f"{value:,.0f}"
