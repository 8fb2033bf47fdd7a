"""What probes ask a Redis, Valkey or Dragonfly: one INFO."""

from __future__ import annotations

from collections.abc import Mapping

from opsctl.model.cancel import Cancel
from opsctl.model.measures import Measure, Question
from opsctl.model.store import Target
from opsctl.stores.redis_info import measures
from opsctl.stores.redis_link import RedisLink


def measure_redis(target: Target, question: Question, cancel: Cancel) -> Mapping[str, Measure]:
    """The measures asked for. Raises UnreachableError, ConfigError."""
    link = RedisLink(target, outage=0.0)  # a probe says how it is now
    try:
        found = measures(link.info(cancel), link.database)
    finally:
        link.close()
    return {name: found[name] for name in question.names if name in found}
