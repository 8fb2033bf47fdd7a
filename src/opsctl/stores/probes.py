"""Which store is asked how for its measures. To add a kind: its case here, its names in `model/measures.py`."""

from __future__ import annotations

from collections.abc import Mapping

from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError
from opsctl.model.measures import Measure, Question
from opsctl.model.store import Target


def measure(target: Target, question: Question, cancel: Cancel, timeout: float) -> Mapping[str, Measure]:
    """The measures of a store by their names, within `timeout` seconds. Raises UnreachableError, ConfigError."""
    within = cancel.child(timeout)
    match target.kind:
        case "redis":
            from opsctl.stores.probes_redis import measure_redis

            return measure_redis(target, question, within)
        case "weaviate":
            from opsctl.stores.probes_weaviate import measure_weaviate

            return measure_weaviate(target, question, within)
        case "qdrant":
            from opsctl.stores.probes_qdrant import measure_qdrant

            return measure_qdrant(target, question, within)
        case "postgres":
            from opsctl.stores.probes_postgres import measure_postgres

            return measure_postgres(target, question, within)
        case _:
            raise ConfigError(f"{target.shown} has no measures", why=f"nothing is asked of {target.kind}")
