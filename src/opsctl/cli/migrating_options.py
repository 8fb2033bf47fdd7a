"""The options that every migration has in common, as one value."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from opsctl.cli.options import DryRunOption, JsonOption, StackOption, VerboseOption, YesOption
from opsctl.model.migrate import Limits

if TYPE_CHECKING:
    from opsctl.cli.context import Context

_PACE = "How hard"
_ELSEWHERE = "Where"
_DAY = 1440  # minutes

# Each migration says itself what its --from and --to may be; these are for the ordinary ones.
FromOption = Annotated[
    str, typer.Option("--from", metavar="STORE", help="A store of the stack file, or a URL without a password.")
]
ToOption = Annotated[
    str, typer.Option("--to", metavar="STORE", help="A store of the stack file, or a URL without a password.")
]

RateOption = Annotated[
    float | None,
    typer.Option("--rate", metavar="N", min=0.1, help="At most N records a second.", rich_help_panel=_PACE),
]
WindowOption = Annotated[
    str | None,
    typer.Option("--window", metavar="FROM-TO", help="Work only then, 01:00-06:00, local time.", rich_help_panel=_PACE),
]


@dataclass(frozen=True)
class Shared:
    """What was given of the common options. `workers` None leaves it to the migration."""

    dry_run: DryRunOption = False
    delete: Annotated[
        bool, typer.Option("--delete", help="Copy, verify, and then delete at the source what was verified.")
    ] = False
    from_via: Annotated[
        str,
        typer.Option(
            "--from-via",
            metavar="DROPLET",
            help="Reach the URL of --from through this droplet.",
            rich_help_panel=_ELSEWHERE,
        ),
    ] = ""
    to_via: Annotated[
        str,
        typer.Option(
            "--to-via",
            metavar="DROPLET",
            help="Reach the URL of --to through this droplet.",
            rich_help_panel=_ELSEWHERE,
        ),
    ] = ""
    on: Annotated[
        str,
        typer.Option(
            "--on", metavar="DROPLET", help="Run it there: what is named is as seen there.", rich_help_panel=_ELSEWHERE
        ),
    ] = ""
    detach: Annotated[
        bool, typer.Option("--detach", help="With --on: do not watch it until it ends.", rich_help_panel=_ELSEWHERE)
    ] = False
    rate: RateOption = None
    window: WindowOption = None
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", min=1, help="Stop after N records, for a try.", rich_help_panel=_PACE),
    ] = None
    batch: Annotated[
        int | None,
        typer.Option(
            "--batch",
            metavar="N",
            min=1,
            max=10_000,
            help="Records a batch; else 256, of points 500, of rows 2,000.",
            rich_help_panel=_PACE,
        ),
    ] = None
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", metavar="N", min=1, max=64, help="Writers side by side; else 2.", rich_help_panel=_PACE
        ),
    ] = None
    yes: YesOption = False
    as_json: JsonOption = False
    stack: StackOption = None
    verbose: VerboseOption = 0

    def context(self, ctx: typer.Context) -> Context:
        """What the command works with."""
        from opsctl.cli.context import Context

        named = [each for each in (self.from_via, self.to_via, self.on) if each]
        return Context(ctx, stack=self.stack, droplets=named, yes=self.yes, verbose=self.verbose)

    def limits(self, suiting: Limits) -> Limits:
        """How hard the engine may push: as `suiting` where nobody says. Raises UsageError for a window that is none."""
        return replace(
            suiting,
            batch=self.batch or suiting.batch,
            writers=self.workers or suiting.writers,
            rate=self.rate,
            window=parse_window(self.window) if self.window else None,
            most=self.limit,
        )


def parse_window(text: str) -> tuple[int, int] | None:
    """`01:00-06:00` as minutes of the day, None for all of it (00:00-24:00). Raises UsageError."""
    from opsctl.model.errors import UsageError

    try:
        first, last = (_minutes(each) for each in text.split("-"))
    except ValueError:
        first = last = 0
    if (first, last) == (0, _DAY):
        return None
    if first == last % _DAY:
        raise UsageError(
            f"--window: {text!r} is no part of a day", why="expected two times of day", next="--window 01:00-06:00"
        )
    return first % _DAY, last % _DAY


def _minutes(text: str) -> int:
    hours, _, minutes = text.strip().partition(":")
    total = int(hours) * 60 + int(minutes)
    if len(minutes) != 2 or int(minutes) > 59 or not 0 <= total <= _DAY:
        raise ValueError(text)
    return total


def shared_options(command: Callable[..., None]) -> Callable[..., None]:
    """A command with a parameter `shared: Shared`, as typer wants it: with an option for each of its fields."""
    hints = get_type_hints(Shared, include_extras=True)
    own = [each for each in inspect.signature(command, eval_str=True).parameters.values() if each.name != "shared"]
    common = [
        inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=hints[each.name])
        for each in fields(Shared)
    ]
    every = [*(each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own), *common]

    @functools.wraps(command)
    def called(**given: Any) -> None:
        shared = Shared(**{each.name: given.pop(each.name) for each in fields(Shared)})
        command(**given, shared=shared)

    called.__dict__.pop("__wrapped__", None)
    called.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
    called.__annotations__ = {each.name: each.annotation for each in every}
    return called


def without(argv: Sequence[str], valued: Sequence[str], flags: Sequence[str] = ()) -> Iterator[str]:
    """The words without these options and their values."""
    skip = False
    for word in argv:
        if skip or word in flags or word in valued:
            skip = not skip and word in valued
        elif not word.startswith(tuple(f"{each}=" for each in valued)):
            yield word
