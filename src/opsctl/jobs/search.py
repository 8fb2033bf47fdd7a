"""Searches in the first store that answers: both ways, over all days, fused into one order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from opsctl.model.cancel import Cancel
from opsctl.model.embedding import Embedder
from opsctl.model.errors import ConfigError, DeadlineExceeded, OpsError, UnreachableError, UsageError
from opsctl.model.search import Answer, Hit, Question, Scope, SearchReport, SearchStore

ALPHA = 0.7  # the weight of nearness; words have the rest
_MODEL = 15.0  # seconds that loading a model may take besides
_FILL = "opsctl migrate dragonfly-to-weaviate … --also-to-postgres STORE"
Opener = Callable[[], SearchStore]


@dataclass
class Asking:
    """The text's vector, made once, when the first store can use one."""

    embedder: Embedder
    text: str
    vector: bytes | None = None
    seconds: float | None = None
    failed: str = ""

    def made(self, cancel: Cancel) -> bytes | None:
        """The vector; None where there is no model, and `failed` says why."""
        if self.vector is None and not self.failed:
            begin = time.monotonic()
            try:
                (self.vector,) = self.embedder.embed([self.text], cancel)
                self.seconds = time.monotonic() - begin
            except (ConfigError, OpsError) as error:
                if isinstance(error, DeadlineExceeded):
                    raise
                cancel.check()
                self.failed = f"{error.info.what}: only words are searched. {error.info.next}"
        return self.vector


def search(
    question: Question,
    embedder: Embedder,
    *,
    first: Opener | None,
    fallback: Opener | None,
    within: float,
    cancel: Cancel,
) -> SearchReport:
    """Ask the first store; when it does not answer, the fallback. Stores are opened with that patience; `within`, in
    seconds, bounds all that one of them is asked.

    Raises UnreachableError when nobody answers, or when the first does not and the fallback has nothing; ConfigError.
    """
    asking = Asking(embedder, question.text)
    failed = ""
    if first is not None:
        try:
            answer = _ask(first, question, asking, cancel.child(3 * within + _MODEL))
            state = "not asked" if fallback is not None else "none"
            return _report(question, answer, "first", "", state, asking)
        except (UnreachableError, DeadlineExceeded) as error:
            cancel.check()
            failed = " ".join(filter(None, (error.info.what, f"({error.info.why})" if error.info.why else "")))
            if fallback is None:
                raise _nobody(failed, "there is no fallback", "--fallback STORE   (a PostgreSQL)") from None
    if fallback is None:
        raise UsageError(
            "there is no store to search in",
            why="the stack file has neither a weaviate store nor a postgres one",
            next="opsctl search TEXT --in http://127.0.0.1:8080",
        )
    try:
        answer = _ask(fallback, question, asking, cancel.child(3 * within + _MODEL))
    except (UnreachableError, DeadlineExceeded) as error:
        cancel.check()
        if first is None:
            raise
        raise _nobody(failed, f"nor does the fallback: {error.info.what}", "opsctl status") from None
    if answer.empty and failed:
        raise _nobody(failed, f"and the fallback is empty: {answer.store}", _FILL)
    return _report(question, answer, "fallback", failed, "empty" if answer.empty else "answered", asking)


def _nobody(failed: str, why: str, next_: str) -> UnreachableError:
    return UnreachableError(f"nothing was searched: {failed}", why=why, next=next_, code="no-search")


def _report(question: Question, answer: Answer, by: str, failed: str, fallback: str, asking: Asking) -> SearchReport:
    notes = (asking.failed,) if asking.failed else ()
    if by == "fallback" and fallback == "empty":
        notes = (*notes, f"the fallback is empty: {_FILL}")
    return SearchReport(question, answer, by, failed, fallback, asking.seconds, notes)


def _ask(opener: Opener, question: Question, asking: Asking, cancel: Cancel) -> Answer:
    store = opener()
    try:
        begin = time.monotonic()
        who = store.describe(cancel)
        scope = store.scope(question, cancel)
        connecting = time.monotonic() - begin
        if scope.empty or not scope.tenants:
            return Answer(who, "nothing", scope.tenants, (), 0.0, connecting, scope.empty, scope.notes)
        vector = asking.made(cancel) if scope.vector else None
        begin = time.monotonic()
        hits = _both(store, question, scope, vector, cancel)
        how = "vector and words" if vector is not None else "words"
        spent = time.monotonic() - begin
        return Answer(who, how, scope.tenants, hits, spent, connecting, False, scope.notes)
    finally:
        store.close()


def _both(
    store: SearchStore, question: Question, scope: Scope, vector: bytes | None, cancel: Cancel
) -> tuple[Hit, ...]:
    if vector is None:
        return fuse((), store.worded(question, scope, cancel), question.limit)
    with ThreadPoolExecutor(1, "search") as pool:
        words = pool.submit(store.worded, question, scope, cancel)
        near = store.nearest(question, scope, vector, cancel)
        return fuse(near, words.result(), question.limit)


def fuse(near: Sequence[Hit], worded: Sequence[Hit], limit: int) -> tuple[Hit, ...]:
    """One order out of two: each half's figures are spread over 0 to 1, and added by their weights. Pure.

    The halves are of all days together: what a server fuses for one tenant at a time cannot be compared.
    """
    close = _spread((each.id, each.tenant, each.nearness or 0.0) for each in near)
    words = _spread((each.id, each.tenant, each.words or 0.0) for each in worded)
    alpha = ALPHA if near else 0.0
    every: dict[tuple[str, str], Hit] = {}
    for each in (*near, *worded):
        name = (each.id, each.tenant)
        known = every.get(name)
        every[name] = each if known is None else replace(known, words=each.words)
    scored = [
        replace(hit, score=round(alpha * close.get(name, 0.0) + (1 - alpha) * words.get(name, 0.0), 4))
        for name, hit in every.items()
    ]
    return tuple(sorted(scored, key=lambda hit: (-hit.score, hit.tenant, hit.id))[:limit])


def _spread(figures: Iterable[tuple[str, str, float]]) -> dict[tuple[str, str], float]:
    """The best is 1, the worst 0; all are 1 where they are equal."""
    found = {(name, tenant): figure for name, tenant, figure in figures}
    low, high = min(found.values(), default=0.0), max(found.values(), default=0.0)
    return {name: 1.0 if high == low else (figure - low) / (high - low) for name, figure in found.items()}
