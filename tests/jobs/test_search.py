"""Which store answers, what is said when one does not, and one order out of two. Stores of our own protocol."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from opsctl.jobs.search import fuse, search
from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError, Interrupted, UnreachableError, UsageError
from opsctl.model.search import Hit, Question, Scope, SearchStore


class Store:
    """A store of two days that has what it is given."""

    def __init__(self, *hits: Hit, scope: Scope | None = None, error: Exception | None = None) -> None:
        self.hits, self.error = hits, error
        self.where = scope or Scope(("20260101", "20260102"), "minilm")
        self.closed = 0

    def describe(self, cancel: Cancel) -> str:
        if self.error is not None:
            raise self.error
        return "Store 1.0 here"

    def scope(self, question: Question, cancel: Cancel) -> Scope:
        return self.where

    def nearest(self, question: Question, scope: Scope, vector: bytes, cancel: Cancel) -> Sequence[Hit]:
        return [each for each in self.hits if each.nearness is not None]

    def worded(self, question: Question, scope: Scope, cancel: Cancel) -> Sequence[Hit]:
        return [each for each in self.hits if each.words is not None]

    def close(self) -> None:
        self.closed += 1


class Model:
    """Gives the same vector for every text, or fails."""

    name, width = "model", 1

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.asked = error, 0

    def embed(self, texts: Sequence[str], cancel: Cancel) -> Sequence[bytes]:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return [b"\0\0\0\0"] * len(texts)

    def describe(self) -> dict[str, str]:
        return {"model": "model"}

    def close(self) -> None:
        pass


NEAR = Hit("a", "20260101", "near", nearness=0.9)
WORDED = Hit("b", "20260102", "worded", words=3.0)
AWAY = UnreachableError("Weaviate does not answer", why="refused")


def ask(first: Store | None, fallback: Store | None, model: Model | None = None, cancel: Cancel | None = None):  # type: ignore[no-untyped-def]
    def opener(store: Store | None):  # type: ignore[no-untyped-def]
        return None if store is None else lambda: store

    return search(
        Question("text", "Session"),
        model or Model(),
        first=opener(first),
        fallback=opener(fallback),
        within=1.0,
        cancel=cancel or Cancel(),
    )


def test_the_first_answers_and_the_fallback_is_not_asked() -> None:
    first, fallback = Store(NEAR, WORDED), Store(error=AssertionError("asked"))
    report = ask(first, fallback)
    assert (report.answered_by, report.fallback, report.failed) == ("first", "not asked", "")
    assert [each.id for each in report.answer.hits] == ["a", "b"]
    assert report.embedding is not None
    assert first.closed == 1


def test_when_the_first_is_away_the_fallback_answers_and_it_is_said() -> None:
    report = ask(Store(error=AWAY), Store(WORDED))
    assert (report.answered_by, report.fallback) == ("fallback", "answered")
    assert report.failed == "Weaviate does not answer (refused)"


def test_a_way_that_cannot_be_opened_counts_as_away() -> None:
    def closed() -> SearchStore:
        raise UnreachableError("no SSH")

    report = search(
        Question("text", "Session"),
        Model(),
        first=closed,
        fallback=lambda: Store(WORDED),
        within=1.0,
        cancel=Cancel(),
    )
    assert report.failed == "no SSH"


@pytest.mark.parametrize(
    ("fallback", "why"),
    [
        (None, "there is no fallback"),
        (Store(error=UnreachableError("PostgreSQL does not answer")), "nor does the fallback"),
        (Store(scope=Scope((), empty=True)), "the fallback is empty"),
    ],
)
def test_when_nobody_can_answer_it_is_an_error_and_no_empty_answer(fallback: Store | None, why: str) -> None:
    with pytest.raises(UnreachableError, match="nothing was searched: Weaviate does not answer") as caught:
        ask(Store(error=AWAY), fallback)
    assert why in caught.value.info.why
    assert caught.value.info.next


def test_zero_hits_are_an_answer() -> None:
    report = ask(Store(), None)
    assert (report.answer.hits, report.answer.empty, report.fallback) == ((), False, "none")


def test_a_fallback_alone_that_is_empty_says_so() -> None:
    report = ask(None, Store(scope=Scope((), empty=True)))
    assert report.fallback == "empty"
    assert "--also-to-postgres" in report.notes[0]


def test_without_a_model_words_are_searched_and_it_is_said() -> None:
    model = Model(ConfigError("the extra is missing", next="pip install 'opsctl[embed]'"))
    report = ask(Store(NEAR, WORDED), None, model)
    assert [each.id for each in report.answer.hits] == ["b"]
    assert report.answer.how == "words"
    assert "pip install" in report.notes[0]


def test_a_store_without_a_comparable_vector_costs_no_model() -> None:
    model = Model()
    ask(Store(WORDED, scope=Scope(("",))), None, model)
    assert model.asked == 0


def test_a_fault_of_the_configuration_is_no_reason_for_the_fallback() -> None:
    with pytest.raises(ConfigError):
        ask(Store(error=ConfigError("no collection")), Store(WORDED))


def test_nothing_to_search_in_says_what_to_type() -> None:
    with pytest.raises(UsageError, match="no store"):
        ask(None, None)


def test_a_stop_is_no_failure_of_a_store() -> None:
    cancel = Cancel()
    cancel.cancel()
    with pytest.raises(Interrupted):
        ask(Store(error=AWAY), Store(WORDED), cancel=cancel)


def test_what_both_halves_have_comes_first() -> None:
    near = [Hit("a", "", "", nearness=0.9), Hit("both", "", "", nearness=0.8), Hit("c", "", "", nearness=0.1)]
    worded = [Hit("both", "", "", words=5.0), Hit("d", "", "", words=1.0)]
    found = fuse(near, worded, 3)
    assert [each.id for each in found] == ["both", "a", "c"]
    assert (found[0].nearness, found[0].words) == (0.8, 5.0)
    assert found[0].score == pytest.approx(0.7 * 0.875 + 0.3)


def test_one_id_in_two_days_is_two_items() -> None:
    assert len(fuse([Hit("a", "1", "", nearness=0.5), Hit("a", "2", "", nearness=0.5)], (), 9)) == 2


def test_words_alone_have_all_the_weight() -> None:
    assert [each.score for each in fuse((), [Hit("a", "", "", words=2.0)], 9)] == [1.0]
