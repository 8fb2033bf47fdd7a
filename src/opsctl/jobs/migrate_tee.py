"""A sink that is two: an item counts as verified only where both have it as it was to be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from opsctl.model.cancel import Cancel
from opsctl.model.migrate import Described, Item, Rejected, Removal, Sink, digest


class Tee:
    """Writes to the first, then to the second what the first took. Groups and ids are the same in both."""

    def __init__(self, first: Sink, second: Sink) -> None:
        self._first, self._second = first, second

    def describe(self, cancel: Cancel) -> Described:
        """Both; it is another store than either of them."""
        one, two = self._first.describe(cancel), self._second.describe(cancel)
        return Described(
            f"{one.product} {one.version} and {two.product}",
            two.version,
            f"{one.address} and {two.address}",
            f"{one.identity} and {two.identity}",
            (*one.notes, *two.notes),
        )

    def check(self, sample: Sequence[Item], cancel: Cancel) -> Sequence[str]:
        """What stands against it in either."""
        return [*self._first.check(sample, cancel), *self._second.check(sample, cancel)]

    def prepare(self, groups: Iterable[str], cancel: Cancel) -> None:
        """In both."""
        every = tuple(groups)
        self._first.prepare(every, cancel)
        self._second.prepare(every, cancel)

    def write(self, items: Sequence[Item], cancel: Cancel) -> Sequence[Rejected]:
        """What either refuses is refused; it may be in the first all the same, unverified."""
        refused = list(self._first.write(items, cancel))
        keys = {each.key for each in refused}
        return [*refused, *self._second.write([item for item in items if item.key not in keys], cancel)]

    def read(self, items: Sequence[Item], cancel: Cancel) -> Sequence[bytes | None]:
        """The digest that both have; None where one of them has nothing, another digest where they differ."""
        one, two = self._first.read(items, cancel), self._second.read(items, cancel)
        return [_both(a, b) for a, b in zip(one, two, strict=True)]

    def locate(self, ids: Sequence[str], cancel: Cancel) -> Mapping[str, str]:
        """As the first has it, else the second."""
        return {**self._second.locate(ids, cancel), **self._first.locate(ids, cancel)}

    def remove(self, written: Sequence[tuple[str, str, bytes]], cancel: Cancel) -> Sequence[Removal]:
        """From both; changed where it is another one by now in either."""
        # The second first: when it is cut short in between, the first still says that there is something to take back.
        two, one = self._second.remove(written, cancel), self._first.remove(written, cancel)
        return [_worse(a, b) for a, b in zip(one, two, strict=True)]

    def close(self) -> None:
        """Both."""
        self._first.close()
        self._second.close()


def _both(one: bytes | None, two: bytes | None) -> bytes | None:
    if one is None or two is None:
        return None
    return one if one == two else digest(one, two)


def _worse(one: Removal, two: Removal) -> Removal:
    if Removal.CHANGED in (one, two):
        return Removal.CHANGED
    return Removal.REMOVED if Removal.REMOVED in (one, two) else Removal.GONE
