"""Reaches the stack's stores for the probes, each at its first use."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from opsctl.model.cancel import Cancel
from opsctl.model.measures import MEASURES, Measure, Question

if TYPE_CHECKING:
    from opsctl.cli.context import Context
    from opsctl.cli.stores import Stores
    from opsctl.model.store import Target

Ask = Callable[["Target", Question, Cancel, float], Mapping[str, Measure]]


class StoreGauges:
    """`Gauges` over the stores of the stack file. Probes ask side by side; the way to a store is built by one."""

    def __init__(self, context: Context, ask: Ask) -> None:
        self._context = context
        self._ask = ask
        self._lock = threading.Lock()
        self._open = ExitStack()
        self._stores: Stores | None = None
        self._targets: dict[str, Target] = {}

    def measure(self, question: Question, *, cancel: Cancel, timeout: float) -> Mapping[str, Measure]:
        """The measures of a store. Raises as `Gauges.measure`."""
        return self._ask(self._target(question.store), question, cancel, timeout)

    def close(self) -> None:
        """End the ways that were opened; safe to call twice."""
        self._open.close()

    def _target(self, name: str) -> Target:
        from opsctl.cli.stores import Stores

        with self._lock:
            if self._stores is None:
                path = self._context.stack.path
                self._stores = self._open.enter_context(Stores(self._context, stack=Path(path) if path else None))
            if name not in self._targets:
                kinds = [kind for kind in ("redis", "weaviate", "qdrant", "postgres") if kind in MEASURES]
                self._targets[name] = self._stores.target(name, kinds, flag=f"stores.{name}")  # type: ignore[arg-type]
            return self._targets[name]
