"""Contestants measured in turn, and what is said of them: medians, spread, ratios against targets."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from shelling import DidNotRun

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Contestant:
    """One way to do the work. `run` does it once and returns the figure: seconds, or bytes."""

    name: str
    run: Callable[[], float]
    rounds: int | None = None  # fewer than the others', for what is slow and does not vary


@dataclass(frozen=True)
class Series:
    """The figures of one contestant."""

    name: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)


@dataclass(frozen=True)
class Target:
    """What a ratio (or, without `to`, the figure itself) must not exceed; `below` excludes equality."""

    of: str
    limit: float
    to: str = ""
    below: bool = False
    words: str = ""

    def met(self, figure: float) -> bool:
        """Whether a figure is within the target."""
        return figure < self.limit if self.below else figure <= self.limit


@dataclass(frozen=True)
class Section:
    """One comparison: its contestants' figures, and the targets that they are held against."""

    name: str
    title: str
    unit: Literal["s", "bytes"]
    series: Mapping[str, Series]
    targets: tuple[Target, ...] = ()
    notes: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)  # contestants that did not run, and why
    load: tuple[float, float] = (0.0, 0.0)  # of the machine, before and after

    def figure(self, target: Target) -> float | None:
        """What a target judges: a ratio of medians, or a median; None where something did not run."""
        if target.of not in self.series or (target.to and target.to not in self.series):
            return None
        return self.series[target.of].median / (self.series[target.to].median if target.to else 1)

    def best(self, target: Target) -> float | None:
        """The same of the smallest figures: what noise from outside, which only ever adds, disturbs least."""
        if self.figure(target) is None:
            return None
        return min(self.series[target.of].values) / (min(self.series[target.to].values) if target.to else 1)

    def ratios(self, target: Target) -> list[float]:
        """The same ratio round by round: it moves less than the figures when the machine does."""
        if not target.to or target.of not in self.series or target.to not in self.series:
            return []
        return [a / b for a, b in zip(self.series[target.of].values, self.series[target.to].values, strict=False)]


class Figures(dict[str, Series]):
    """Series by contestant, and what those said that did not run: one of them does not stop the others."""

    def __init__(self) -> None:
        super().__init__()
        self.failed: dict[str, str] = {}


def in_turn(contestants: Sequence[Contestant], rounds: int, progress: Progress) -> Figures:
    """A B C, A B C, …: what slows the machine down for a while slows all of them."""
    values: dict[str, list[float]] = {each.name: [] for each in contestants}
    found = Figures()
    for number in range(rounds):
        for each in contestants:
            if each.name in found.failed or (each.rounds is not None and number >= each.rounds):
                continue
            try:
                values[each.name].append(each.run())
                progress(f"round {number + 1}/{rounds}  {each.name}: {values[each.name][-1]:,.3f}")
            except DidNotRun as reason:
                found.failed[each.name] = str(reason)
                progress(f"round {number + 1}/{rounds}  {each.name} did not run: {reason}")
    found.update(
        {name: Series(name, tuple(all_)) for name, all_ in values.items() if name not in found.failed and all_}
    )
    return found
