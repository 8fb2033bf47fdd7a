"""The shape of collections.yaml, and reading it: checked whole, every problem with its line."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import Field

from opsctl.model import assets
from opsctl.model.collections import (
    EXTRA,
    NEAR_AT_HAND,
    Bm25,
    Collection,
    Declared,
    Property,
    PropertyType,
    Tenants,
    Vector,
)
from opsctl.model.collections import FILE as NAME
from opsctl.model.errors import ConfigError
from opsctl.model.stackfile_check import Models, validate
from opsctl.model.stackfile_problem import config_error, nearest, shown_path
from opsctl.model.stackfile_schema import Entry
from opsctl.model.stackfile_types import Switch, Text
from opsctl.model.stackfile_yaml import Document, read_yaml

Tokenization = Literal["word", "lowercase", "whitespace", "field", "trigram", "gse", "gse_ch", "kagome_ja", "kagome_kr"]


class PropertyEntry(Entry):
    """One property; a bare text is its type."""

    type: PropertyType = Field(description="Its type.")
    about: Text = Field(default="", validate_default=False, description="What it holds.")
    tokenization: Tokenization | None = Field(
        default=None, description="How a text is cut up; without, word where it is searched, else field."
    )
    filter: Switch = Field(default=True, description="Whether it can be filtered by.")
    search: Switch = Field(default=False, description="Whether keywords find it: BM25, and half of a hybrid search.")
    range: Switch = Field(default=False, description="Whether greater and less are fast: numbers and dates.")

    @classmethod
    def from_shorthand(cls, value: object) -> object:
        return {"type": value} if isinstance(value, str) else value


class VectorEntry(Entry):
    """One named vector."""

    width: int | None = Field(default=None, ge=1, le=65535, description="How many numbers.")
    vectorizer: Text = Field(default="none", description="The server's module that makes it; none: clients bring it.")
    settings: dict[str, Any] = Field(default_factory=dict, description="The module's own settings.")
    index: Literal["hnsw", "flat", "dynamic"] = Field(default="hnsw", description="Its index.")
    distance: Literal["cosine", "dot", "l2-squared", "manhattan", "hamming"] = Field(
        default="cosine", description="How near is measured."
    )
    filter: Literal["acorn", "sweeping"] = Field(default="acorn", description="How a filtered search walks the graph.")
    ef: int | None = Field(default=None, ge=-1, description="How widely a search looks; -1 lets the server choose.")
    ef_construction: int | None = Field(default=None, ge=1, description="How carefully the graph is built.")
    max_connections: int | None = Field(default=None, ge=1, description="Edges of each node of the graph.")


class Bm25Entry(Entry):
    """How keywords are weighted."""

    b: float = Field(default=0.75, ge=0, le=1, description="How much the length of a text counts.")
    k1: float = Field(default=1.2, ge=0, description="How soon a repeated word counts no more.")
    stopwords: Literal["en", "none"] = Field(default="en", description="Words that are not searched for.")


class TenantsEntry(Entry):
    """A tenant a day; the bare word `day` is the short form."""

    by: Literal["day"] = Field(default="day", description="What a tenant stands for.")
    create: Switch = Field(default=True, description="The server makes a tenant that an object names.")
    activate: Switch = Field(default=True, description="The server wakes a tenant that is asked for.")
    summary: Text | None = Field(default=None, description="Where `collections close-day` puts a day's summary.")

    @classmethod
    def from_shorthand(cls, value: object) -> object:
        return {"by": value} if isinstance(value, str) else value


class CollectionEntry(Entry):
    """One collection."""

    about: Text = Field(default="", validate_default=False, description="What it is for.")
    clinical: Switch = Field(
        default=False, description="Its content goes to no third party, and its exports are encrypted."
    )
    tenants: TenantsEntry | None = Field(default=None, description="A tenant a day; without, one place.")
    bm25: Bm25Entry = Field(default_factory=Bm25Entry, description="How keywords are weighted.")
    vectors: dict[str, VectorEntry] = Field(default_factory=dict, description="Named vectors.")
    properties: dict[str, PropertyEntry] = Field(default_factory=dict, description="Properties.")


class CollectionsFile(Entry):
    """A collections.yaml, version 1."""

    version: Literal[1] = Field(description="The version of this format: 1.")
    collections: dict[str, CollectionEntry] = Field(description="Collections by name.")


_MODELS: Models = {
    (): CollectionsFile,
    ("collections", "*"): CollectionEntry,
    ("collections", "*", "tenants"): TenantsEntry,
    ("collections", "*", "bm25"): Bm25Entry,
    ("collections", "*", "vectors", "*"): VectorEntry,
    ("collections", "*", "properties", "*"): PropertyEntry,
}


def find_collections(folder: Path | None, named: Path | None = None) -> Path:
    """The file: the one that was named, collections.yaml in the stack's folder, the shipped one. Raises ConfigError."""
    if named is not None:
        if not named.is_file():
            raise ConfigError(f"no file {named}", why="it was named, and it isn't there", next=f"ls -l {named}")
        return named
    if folder is not None and (folder / NAME).is_file():
        return folder / NAME
    shipped = assets.find("collections", NAME)
    if shipped is None:
        raise ConfigError(f"no {NAME}", why="neither in the stack's folder nor in the package", next="opsctl doctor")
    return shipped


def load_collections(folder: Path | None, named: Path | None = None) -> Declared:
    """The declared collections. Raises ConfigError with everything that is wrong in the file."""
    path = find_collections(folder, named)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read", why=str(error), next=f"ls -l {path}") from None
    return read_collections(text, shown_path(path.resolve()))


def read_collections(text: str, file: str) -> Declared:
    """The collections in a file's text. Raises ConfigError with everything that is wrong, each with its line."""
    document = read_yaml(text, file)
    if not isinstance(document.data, dict):
        document.problem((), "not a list of collections", expected="version: 1, collections: …")
        raise _error(document)
    entry, problems = validate(CollectionsFile, document.data, file=file, line=document.line, models=_MODELS)
    document.problems += problems
    if entry is not None:
        _check(entry, document)
    if entry is None or document.problems:
        raise _error(document)
    made = {name: _collection(name, each, document) for name, each in entry.collections.items()}
    return Declared(file, made)


def _error(document: Document) -> ConfigError:
    info = config_error(document.problems).info
    place = f"{info.path} line {info.line}" if info.line else f"{info.path}"
    return ConfigError(
        info.what,
        why=info.why,
        next=f"correct {place}, then: opsctl collections status",
        path=info.path,
        line=info.line,
    )


# What a shape alone cannot say


def _check(entry: CollectionsFile, document: Document) -> None:
    for name, each in entry.collections.items():
        way = ("collections", name)
        if re.fullmatch(r"[A-Z][_0-9A-Za-z]*", name) is None:
            document.problem(way, f"{name!r} is no name of a collection", expected="a capital first: Session")
        for vector, one in each.vectors.items():
            _check_vector(each, vector, one, (*way, "vectors", vector), document)
        for prop, shape in each.properties.items():
            _check_property(prop, shape, (*way, "properties", prop), document)
        summary = each.tenants.summary if each.tenants else None
        if summary is not None and summary not in entry.collections:
            near = nearest(summary, entry.collections)
            document.problem((*way, "tenants", "summary"), f"no collection {summary} in this file", nearest=near)


def _check_vector(
    owner: CollectionEntry, name: str, entry: VectorEntry, way: tuple[str | int, ...], document: Document
) -> None:
    if re.fullmatch(r"[_A-Za-z][_0-9A-Za-z]{0,229}", name) is None:
        document.problem(way, f"{name!r} is no name of a vector", expected="letters, digits and _")
    if owner.clinical and entry.vectorizer not in NEAR_AT_HAND:
        near = nearest(entry.vectorizer, NEAR_AT_HAND)
        expected = f"one that runs beside the server: {', '.join(NEAR_AT_HAND)}"
        what = f"{entry.vectorizer} sends clinical data to a third party"
        document.problem((*way, "vectorizer"), what, expected=expected, nearest=near)
    if owner.clinical:
        for key, value in entry.settings.items():
            if isinstance(value, str) and "://" in value and not _private(value):
                what = f"{value} is somebody else's machine, and the collection is clinical"
                document.problem((*way, "settings", key), what, expected="an address of your own network")
    if entry.index == "flat" and "filter" in entry.model_fields_set:
        document.problem((*way, "filter"), "a flat index has no graph to walk", expected="index: hnsw, or no filter")


def _private(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host  # a service of the same compose file


def _check_property(name: str, entry: PropertyEntry, way: tuple[str | int, ...], document: Document) -> None:
    if re.fullmatch(r"[_A-Za-z][_0-9A-Za-z]{0,230}", name) is None:
        document.problem(way, f"{name!r} is no name of a property", expected="letters, digits and _")
    elif name in ("id", "vector", "_id", "_additional"):
        document.problem(way, f"{name} is a word of Weaviate's own", expected="another name")
    text = entry.type in ("text", "text[]")
    if not text and (entry.tokenization or entry.search):
        key = "tokenization" if entry.tokenization else "search"
        document.problem((*way, key), f"means nothing for {entry.type}", expected="type: text")
    if entry.range and entry.type not in ("int", "number", "date"):
        document.problem((*way, "range"), f"means nothing for {entry.type}", expected="type: int, number or date")
    if name == EXTRA and entry.type != "text":
        document.problem((*way, "type"), "holds JSON: what has no property of its own", expected="text")


# From the shape to what is worked with


def _collection(name: str, entry: CollectionEntry, document: Document) -> Collection:
    tenants = entry.tenants
    return Collection(
        name,
        entry.about,
        entry.clinical,
        {key: _property(key, each) for key, each in entry.properties.items()},
        {key: Vector(key, **each.model_dump()) for key, each in entry.vectors.items()},
        Bm25(**entry.bm25.model_dump()),
        Tenants(tenants.by, tenants.create, tenants.activate, tenants.summary or "") if tenants else None,
        document.line(("collections", name)),
    )


def _property(name: str, entry: PropertyEntry) -> Property:
    cut = ""
    if entry.type in ("text", "text[]"):
        cut = entry.tokenization or ("word" if entry.search else "field")
    return Property(name, entry.type, entry.about, cut, entry.filter, entry.search, entry.range)


TYPES = get_args(PropertyType)
