"""A declared collection as Weaviate's JSON, what differs from the live one, and which of that changes in place."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from opsctl.model.collections import NEAR_AT_HAND, Collection, Difference, Doing, Property, Vector
from opsctl.stores.weaviate_rest import version_of

_ADD_VECTOR = (1, 31)  # the first server that takes a new named vector into a collection that is there
_MOVE = "declare a collection of another name, `opsctl collections apply`, and migrate into it"
_ANOTHER = "declare another one under a new name beside it: that is added in place"


def create_json(wanted: Collection) -> dict[str, Any]:
    """What POST /v1/schema takes."""
    tenants = wanted.tenants
    made: dict[str, Any] = {
        "class": wanted.name,
        "description": wanted.about,
        "properties": [property_json(each) for each in wanted.properties.values()],
        "invertedIndexConfig": {
            "bm25": {"b": wanted.bm25.b, "k1": wanted.bm25.k1},
            "stopwords": {"preset": wanted.bm25.stopwords},
        },
        "multiTenancyConfig": {
            "enabled": tenants is not None,
            "autoTenantCreation": tenants is not None and tenants.create,
            "autoTenantActivation": tenants is not None and tenants.activate,
        },
    }
    if wanted.vectors:
        made["vectorConfig"] = {name: vector_json(each, wanted) for name, each in wanted.vectors.items()}
    else:
        made["vectorizer"] = "none"
    return made


def property_json(prop: Property) -> dict[str, Any]:
    """One property, with each of its indexes said: what is left out, the server decides."""
    made: dict[str, Any] = {
        "name": prop.name,
        "dataType": [prop.type],
        "description": prop.about,
        "indexFilterable": prop.filterable,
        "indexSearchable": prop.searchable,
        "indexRangeFilters": prop.range,
    }
    if prop.tokenization:
        made["tokenization"] = prop.tokenization
    return made


def vector_json(vector: Vector, owner: Collection) -> dict[str, Any]:
    """One named vector."""
    settings = dict(vector.settings)
    if vector.vectorizer != "none" and "properties" not in settings:
        texts = [each.name for each in owner.properties.values() if each.searchable]
        settings |= {"vectorizeClassName": False, **({"properties": texts} if texts else {})}
    return {
        "vectorizer": {vector.vectorizer: settings},
        "vectorIndexType": vector.index,
        "vectorIndexConfig": _index_json(vector),
    }


def _index_json(vector: Vector) -> dict[str, Any]:
    graph: dict[str, Any] = {"distance": vector.distance, "filterStrategy": vector.filter}
    numbers = {"ef": vector.ef, "efConstruction": vector.ef_construction, "maxConnections": vector.max_connections}
    graph |= {key: value for key, value in numbers.items() if value is not None}
    if vector.index == "flat":
        return {"distance": vector.distance}
    return {"distance": vector.distance, "hnsw": graph} if vector.index == "dynamic" else graph


# What differs


def compare(
    wanted: Collection, live: Mapping[str, Any] | None, version: str, widths: Mapping[str, int]
) -> tuple[Difference, ...]:
    """Every difference, with what can be done about it. `widths` are those of the vectors that are stored."""
    if live is None:
        return (Difference(wanted.name, "", Doing.CREATE, declared=_in_short(wanted)),)
    found = _Comparison(wanted, live, version_of(version))
    return (
        *found.collection(),
        *found.properties(),
        *found.vectors(widths),
    )


def _in_short(wanted: Collection) -> str:
    parts = [f"{len(wanted.properties)} properties", f"vectors {', '.join(wanted.vectors) or 'none'}"]
    return ", ".join([*parts, "a tenant a day"] if wanted.tenants else parts)


class _Comparison:
    def __init__(self, wanted: Collection, live: Mapping[str, Any], version: tuple[int, ...]) -> None:
        self._wanted, self._live, self._version = wanted, live, version
        self._name = wanted.name

    def _differs(
        self, path: str, doing: Doing, declared: object = "", live: object = "", why: str = "", to_do: str = ""
    ) -> Difference:
        return Difference(self._name, path, doing, _shown(declared), _shown(live), why, to_do)

    def collection(self) -> Iterator[Difference]:
        """Its description, its keyword weights, its tenants."""
        wanted, live = create_json(self._wanted), self._live
        if wanted["description"] != (live.get("description") or ""):
            yield self._differs("about", Doing.CHANGE, wanted["description"], live.get("description") or "")
        now = live.get("invertedIndexConfig") or {}
        for key in ("b", "k1"):
            want, have = wanted["invertedIndexConfig"]["bm25"][key], (now.get("bm25") or {}).get(key)
            if want != have:
                yield self._differs(f"bm25.{key}", Doing.CHANGE, want, have)
        want, have = self._wanted.bm25.stopwords, (now.get("stopwords") or {}).get("preset")
        if want != have:
            yield self._differs("bm25.stopwords", Doing.CHANGE, want, have)
        yield from self._tenants(wanted["multiTenancyConfig"], live.get("multiTenancyConfig") or {})

    def _tenants(self, want: Mapping[str, bool], have: Mapping[str, bool]) -> Iterator[Difference]:
        if want["enabled"] != bool(have.get("enabled")):
            why = "Weaviate decides on tenants when a collection is made"
            yield self._differs("tenants", Doing.REFUSE, want["enabled"], bool(have.get("enabled")), why, _MOVE)
            return
        for path, key in (("tenants.create", "autoTenantCreation"), ("tenants.activate", "autoTenantActivation")):
            if want[key] != bool(have.get(key)):
                yield self._differs(path, Doing.CHANGE, want[key], bool(have.get(key)))

    def properties(self) -> Iterator[Difference]:
        """Properties that are missing, that are another way, that nobody declared."""
        there = {each["name"]: each for each in self._live.get("properties") or ()}
        for name, prop in self._wanted.properties.items():
            path = f"properties.{name}"
            if name not in there:
                yield self._differs(path, Doing.ADD, prop.type)
                continue
            yield from self._property(path, property_json(prop), there[name])
        for name, each in there.items():
            if name not in self._wanted.properties:
                yield self._differs(f"properties.{name}", Doing.KEEP, "", each["dataType"][0])

    def _property(self, path: str, want: Mapping[str, Any], have: Mapping[str, Any]) -> Iterator[Difference]:
        if want["dataType"] != have["dataType"]:
            why = "a property's type is for ever: what is stored is of it"
            yield self._differs(f"{path}.type", Doing.REFUSE, want["dataType"][0], have["dataType"][0], why, _ANOTHER)
            return
        keys = {
            "tokenization": "tokenization",
            "filter": "indexFilterable",
            "search": "indexSearchable",
            "range": "indexRangeFilters",
        }
        for shown, key in keys.items():
            if key in want and want[key] != have.get(key, False):
                why = "the index of what is stored would have to be built anew"
                yield self._differs(f"{path}.{shown}", Doing.REFUSE, want[key], have.get(key), why, _ANOTHER)
        if want["description"] and want["description"] != (have.get("description") or ""):
            yield self._differs(f"{path}.about", Doing.CHANGE, want["description"], have.get("description") or "")

    def vectors(self, widths: Mapping[str, int]) -> Iterator[Difference]:
        """Vectors that are missing, that are another way, that nobody declared; and widths that cannot both be."""
        there = self._live.get("vectorConfig") or {}
        for name, vector in self._wanted.vectors.items():
            path = f"vectors.{name}"
            if name in there:
                yield from self._vector(path, vector_json(vector, self._wanted), there[name])
                if vector.width is not None and widths.get(name, vector.width) != vector.width:
                    why = "vectors of two widths do not fit into one space; the stored ones are of another model"
                    yield self._differs(f"{path}.width", Doing.REFUSE, vector.width, widths[name], why, _ANOTHER)
            elif not there:
                why = "the collection has one vector without a name, and takes no named ones beside it"
                yield self._differs(path, Doing.REFUSE, vector.vectorizer, "", why, _MOVE)
            elif self._version < _ADD_VECTOR:
                why = f"only {_ADD_VECTOR[0]}.{_ADD_VECTOR[1]} and newer servers add a vector to what is there"
                yield self._differs(path, Doing.REFUSE, vector.vectorizer, "", why, "upgrade Weaviate, then apply")
            else:
                yield self._differs(path, Doing.ADD, vector.vectorizer)
        for name in there:
            if name not in self._wanted.vectors:
                maker = next(iter(there[name].get("vectorizer") or {}), "none")
                if self._wanted.clinical and maker not in NEAR_AT_HAND:
                    why = "it sends clinical data to a third party, and Weaviate cannot drop a vector"
                    yield self._differs(f"vectors.{name}", Doing.REFUSE, "", maker, why, _MOVE)
                else:
                    yield self._differs(f"vectors.{name}", Doing.KEEP, "", maker)

    def _vector(self, path: str, want: Mapping[str, Any], have: Mapping[str, Any]) -> Iterator[Difference]:
        made, makes = next(iter(have.get("vectorizer") or {"none": {}})), next(iter(want["vectorizer"]))
        if made != makes:
            why = "the vectors that are stored were made another way"
            yield self._differs(f"{path}.vectorizer", Doing.REFUSE, makes, made, why, _ANOTHER)
        if want["vectorIndexType"] != have.get("vectorIndexType"):
            why = "an index is of one type for ever"
            index = have.get("vectorIndexType")
            yield self._differs(f"{path}.index", Doing.REFUSE, want["vectorIndexType"], index, why, _ANOTHER)
            return
        wanted, there = _graph(want), _graph(have)
        for shown, key, changes in (
            ("distance", "distance", False),
            ("filter", "filterStrategy", True),
            ("ef", "ef", True),
            ("ef_construction", "efConstruction", False),
            ("max_connections", "maxConnections", False),
        ):
            if key in wanted and wanted[key] != there.get(key):
                doing = Doing.CHANGE if changes else Doing.REFUSE
                why = "" if changes else "the graph that is there was built with it"
                to_do = "" if changes else _ANOTHER
                yield self._differs(f"{path}.{shown}", doing, wanted[key], there.get(key), why, to_do)


def _graph(vector: Mapping[str, Any]) -> Mapping[str, Any]:
    settings: Mapping[str, Any] = vector.get("vectorIndexConfig") or {}
    return {**settings.get("hnsw", {}), "distance": settings.get("distance")} if "hnsw" in settings else settings


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)


# What changes in place


def altered(wanted: Collection, live: Mapping[str, Any], found: tuple[Difference, ...]) -> dict[str, Any] | None:
    """The collection's settings with what can be changed in one PUT; None where that is nothing.

    New properties go by a call of their own, for a PUT with one more is refused.
    """
    doing = {each.path for each in found if each.doing in (Doing.CHANGE, Doing.ADD)}
    changes = {path for path in doing if not (path.startswith("properties.") and path.count(".") == 1)}
    if not changes:
        return None
    made = copy.deepcopy(dict(live))
    want = create_json(wanted)
    if "about" in changes:
        made["description"] = want["description"]
    if any(path.startswith("bm25") for path in changes):
        made["invertedIndexConfig"] = {**(live.get("invertedIndexConfig") or {}), **want["invertedIndexConfig"]}
    if any(path.startswith("tenants.") for path in changes):
        made["multiTenancyConfig"] = want["multiTenancyConfig"]
    for each in made.get("properties") or ():
        if f"properties.{each['name']}.about" in changes:
            each["description"] = wanted.properties[each["name"]].about
    _alter_vectors(wanted, made, changes)
    return made


def _alter_vectors(wanted: Collection, made: dict[str, Any], changes: set[str]) -> None:
    for name, vector in wanted.vectors.items():
        if f"vectors.{name}" in changes:
            made["vectorConfig"][name] = vector_json(vector, wanted)
        keys = [key for key in ("filter", "ef") if f"vectors.{name}.{key}" in changes]
        if keys:
            settings = made["vectorConfig"][name]["vectorIndexConfig"]
            graph = settings["hnsw"] if vector.index == "dynamic" else settings
            graph |= {"filterStrategy": vector.filter} if "filter" in keys else {}
            graph |= {"ef": vector.ef} if "ef" in keys else {}


def added(wanted: Collection, found: tuple[Difference, ...]) -> list[dict[str, Any]]:
    """The properties to add."""
    paths = {each.path for each in found if each.doing is Doing.ADD}
    return [property_json(each) for each in wanted.properties.values() if f"properties.{each.name}" in paths]
