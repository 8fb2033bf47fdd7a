"""What probes ask a Weaviate server: is it ready, how fast are queries, what is in it."""

from __future__ import annotations

import json
import math
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from opsctl.model.cancel import Cancel
from opsctl.model.errors import StepFailed, UnreachableError
from opsctl.model.measures import Measure, Question
from opsctl.model.store import Target
from opsctl.stores.weaviate_rest import WeaviateRest

_QUERIES = 20  # p95 is then the second slowest
_SHARE = 0.95
_BUCKET = re.compile(r"^queries_durations_ms_bucket\{(?P<labels>[^}]*)\}\s+(?P<count>[0-9.e+]+)$", re.MULTILINE)


def measure_weaviate(target: Target, question: Question, cancel: Cancel) -> Mapping[str, Measure]:
    """The measures asked for. Raises UnreachableError, StepFailed for a collection that is not there."""
    rest = WeaviateRest(target, patience=0.0)  # a probe says how it is now
    try:
        return _Probe(rest, question, cancel).measures()
    finally:
        rest.close()


class _Probe:
    def __init__(self, rest: WeaviateRest, question: Question, cancel: Cancel) -> None:
        self._rest, self._question, self._cancel = rest, question, cancel
        self._schema: Mapping[str, Mapping[str, Any]] = {}

    def measures(self) -> Mapping[str, Measure]:
        """Only what is asked for: a query costs more than a count."""
        names = self._question.names
        found: dict[str, Measure] = {}
        if "ready" in names:
            ready = self._rest.ready(self._cancel)
            found["ready"] = Measure(ready, "" if ready is not None else "it is not ready")
        wanted = self._question.collection
        if set(names) - {"ready", "query_metric"}:
            self._schema = self._rest.schema(self._cancel)
            if wanted and wanted not in self._schema:
                why = f"it has {', '.join(sorted(self._schema)) or 'none'}"
                raise StepFailed(f"no collection {wanted}", why=why, next="opsctl collections status")
        for name in names:
            if name in _ASKED:
                found[name] = _ASKED[name](self)
        return found

    @property
    def _names(self) -> list[str]:
        return [self._question.collection] if self._question.collection else sorted(self._schema)

    def _by_tenant(self, name: str) -> bool:
        return bool((self._schema[name].get("multiTenancyConfig") or {}).get("enabled"))

    def healthy(self) -> Measure:
        """Every node answers and takes writes, and no shard has become read-only."""
        nodes = self._rest.nodes(self._cancel)
        sick = [f"{each.get('name')} is {each.get('status')}" for each in nodes if each.get("status") != "HEALTHY"]
        for node in nodes:
            for shard in node.get("shards") or ():
                if shard.get("vectorIndexingStatus") == "READONLY":
                    sick.append(f"{shard.get('class')}/{shard.get('name')} is read-only")
        return Measure(float(not sick), ", ".join(sick[:3]))

    def tenants(self) -> Measure:
        """How many, and in which states."""
        states: Counter[str] = Counter()
        for name in self._names:
            if self._by_tenant(name):
                states.update(self._rest.tenants(name, self._cancel).values())
        said = ", ".join(f"{count:,} {state.lower()}" for state, count in sorted(states.items()))
        return Measure(float(states.total()), said)

    def objects(self) -> Measure:
        """Objects in what is active."""
        places: list[tuple[str, str]] = []
        for name in self._names:
            places += [(name, group) for group in self._active(name)] if self._by_tenant(name) else [(name, "")]
        counts = self._rest.count(places, self._cancel)
        by_name: Counter[str] = Counter()
        for (name, _), count in zip(places, counts, strict=True):
            by_name[name] += count
        said = ", ".join(f"{name} {count:,}" for name, count in by_name.items() if count)
        return Measure(float(sum(counts)), said if len(by_name) > 1 else "")

    def _active(self, name: str) -> list[str]:
        states = self._rest.tenants(name, self._cancel)
        return sorted((each for each, state in states.items() if state == "ACTIVE"), reverse=True)

    def query(self) -> Measure:
        """The 95th percentile of searches like those of an application, for what an object that is there says."""
        for name in self._names:
            groups = self._active(name)[:1] if self._by_tenant(name) else [""]
            for group in groups:
                found = self._rest.sample(name, group, self._cancel)
                if found is not None:
                    text, kind = search_for(name, group, self._schema[name], found)
                    return self._timed(text, f"{kind} in {name}{f'/{group}' if group else ''}")
        return Measure(None, "nothing is stored that could be searched for")

    def _timed(self, text: str, said: str) -> Measure:
        times: list[float] = []
        for _ in range(_QUERIES):
            began = time.monotonic()
            self._rest.graphql(text, self._cancel)
            times.append(time.monotonic() - began)
        return Measure(sorted(times)[math.ceil(_SHARE * _QUERIES) - 1], f"p95 of {_QUERIES} searches, {said}")

    def query_metric(self) -> Measure:
        """The 95th percentile that the server's own histogram tells, since it started."""
        import httpx

        url = self._question.metrics
        if not url:
            return Measure(None, "the probe names no url: of its /metrics, like http://127.0.0.1:2112/metrics")
        left = self._cancel.remaining
        try:
            answer = httpx.get(url, timeout=10.0 if left is None else max(0.05, left), trust_env=False)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise UnreachableError(f"{url} does not answer", why=str(error) or type(error).__name__) from None
        return percentile(answer.text, self._question.collection)


_ASKED = {
    "healthy": _Probe.healthy,
    "tenants": _Probe.tenants,
    "objects": _Probe.objects,
    "query": _Probe.query,
    "query_metric": _Probe.query_metric,
}


def search_for(name: str, group: str, settings: Mapping[str, Any], found: Mapping[str, Any]) -> tuple[str, str]:
    """A search that finds an object: hybrid where the collection can, else by vector or by words alone. Pure."""
    texts = [each["name"] for each in settings.get("properties") or () if each.get("indexSearchable")]
    said = next((str(found["properties"][each]) for each in texts if found["properties"].get(each)), "")
    words = json.dumps(" ".join(said.split()[:6]), ensure_ascii=False)
    vectors = found.get("vectors") or {}
    target, numbers = next(iter(vectors.items()), ("", found.get("vector") or []))
    aimed = f" targetVectors:[{json.dumps(target)}]" if target else ""
    if numbers and said:
        how, kind = f"hybrid:{{query:{words} vector:{json.dumps(numbers)}{aimed}}}", "hybrid"
    elif numbers:
        how, kind = f"nearVector:{{vector:{json.dumps(numbers)}{aimed}}}", "by vector"
    else:
        how, kind = (f"bm25:{{query:{words}}}", "by words") if said else ("", "a list")
    tenant = f" tenant:{json.dumps(group)}" if group else ""
    return f"{{Get{{{name}(limit:10 {how}{tenant}){{_additional{{id}}}}}}}}", kind


def percentile(text: str, collection: str) -> Measure:
    """The 95th percentile of `queries_durations_ms`, in seconds, by interpolation inside its bucket. Pure."""
    buckets: dict[float, float] = {}
    for found in _BUCKET.finditer(text):
        labels = dict(re.findall(r'(\w+)="([^"]*)"', found["labels"]))
        if labels.get("query_type") in ("batch", "aggregate") or collection not in ("", labels.get("class_name")):
            continue
        edge = math.inf if labels["le"] == "+Inf" else float(labels["le"])
        buckets[edge] = buckets.get(edge, 0.0) + float(found["count"])
    total = buckets.get(math.inf, 0.0)
    if not total:
        return Measure(None, "the server has answered no query since it started")
    return Measure(_inside(sorted(buckets.items()), _SHARE * total) / 1000, f"p95 of {total:,.0f} since it started")


def _inside(buckets: Sequence[tuple[float, float]], wanted: float) -> float:
    low, below = 0.0, 0.0
    for high, count in buckets:
        if count >= wanted:
            return low if math.isinf(high) else low + (high - low) * (wanted - below) / (count - below)
        low, below = high, count
    return low
