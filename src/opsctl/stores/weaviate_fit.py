"""Whether a live collection can take the vectors that a migration brings. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opsctl.model.collections import NEAR_AT_HAND
from opsctl.model.errors import ConfigError
from opsctl.stores.weaviate_rest import DEFAULT


def check_vectors(collection: str, settings: Mapping[str, Any], brought: Sequence[str], *, clinical: bool) -> None:
    """Raises ConfigError for a vector that is not there, none at all, and a third party's in a clinical collection."""
    makers = vectorizers(settings)
    for name, maker in makers.items():
        if clinical and maker not in NEAR_AT_HAND:
            raise ConfigError(
                f"{collection} is clinical, and its vector {name} is made by {maker}",
                why="every object that is written would be sent to a third party",
                next="opsctl collections status",
            )
    if not brought and set(makers.values()) == {"none"}:
        raise ConfigError(
            f"{collection} has no vectorizer of its own",
            why="its objects would have no vectors, and only keywords would find them",
            next="opsctl migrate dragonfly-to-weaviate --vectors minilm",
        )
    for name in brought:
        if name not in makers:
            raise ConfigError(
                f"{collection} has no vector {name}",
                why=f"it has {', '.join(makers)}",
                next="opsctl collections apply   (adds a named vector that collections.yaml declares)",
            )


def vectorizers(settings: Mapping[str, Any]) -> dict[str, str]:
    """Who makes each vector of a collection, as its settings say."""
    named = settings.get("vectorConfig")
    if isinstance(named, dict) and named:
        return {name: next(iter(each.get("vectorizer") or {"none": {}})) for name, each in named.items()}
    return {DEFAULT: str(settings.get("vectorizer") or "none")}
