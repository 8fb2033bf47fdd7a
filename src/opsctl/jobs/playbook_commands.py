"""Jobs of a playbook that are commands of opsctl, each as a process of its own: what moves data, and what points to it.

They open stores, which no other job does, and some work for hours: a process of its own ends with its own exit code,
keeps its own run, and is stopped by a signal like one that was typed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from opsctl.jobs.playbook_place import Done, Job, Order, Perform
from opsctl.model.errors import ErrorInfo, ExitCode
from opsctl.model.events import Outcome
from opsctl.model.migrate_shown import RunShown
from opsctl.model.playbook import JobSpec, Parameter
from opsctl.model.units import show_duration, show_size

_MIGRATIONS = ("dragonfly-to-weaviate", "qdrant-to-cloud", "redis-to-postgres", "redis-to-managed", "state-to-redis")
_STAMP = len("20261120T185312")
_FROM = Parameter("text", "A store of the stack file.", required=True)
_STORES = {"from": _FROM, "to": _FROM}
_PACE = {
    "rate": Parameter("whole", "At most so many records a second.", least=1),
    "window": Parameter("text", "Work only then: 01:00-06:00."),
}
_MEMORY = {
    **_STORES,
    "pattern": Parameter("text", "Which keys; memory:* without."),
    "collection": Parameter("text", "Where they go; Session without."),
    "vectors": Parameter("text", "How.", choices=("minilm", "precomputed", "server")),
    "model": Parameter("text", "A folder with MiniLM, for want of a network."),
    "collections": Parameter("text", "The file of the collections; else collections.yaml beside the stack file."),
    "also_to_postgres": Parameter("text", "Fill the table that `search` falls back on, too."),
    "skip_expiring": Parameter("duration", "Leave out what expires within that time."),
}
_QDRANT = {
    **_STORES,
    "collection": Parameter("texts", "Which; else all."),
    "as": Parameter("text", "What the one collection is called there."),
}
_SWITCH = {
    "switch": Parameter("services", "Send these services to the target."),
    "stop": Parameter("service", "The old Qdrant's service, stopped last."),
    "service_url": Parameter("text", "The target as the services see it."),
    "proof": Parameter("text", "What they log once they have reached it."),
}
_RECORD = {
    "name": Parameter("text", "The whole name: api.example.com; nothing is done without one.", required=True),
    "value": Parameter("text", "The address, or what it is to be.", required=True),
    "type": Parameter("text", "A without.", choices=("A", "AAAA", "CNAME")),
    "ttl": Parameter("whole", "How long it may be kept, in seconds.", least=30),
}


def _words(arguments: Mapping[str, Any]) -> list[str]:
    """Arguments as options; what is empty is left out."""
    words: list[str] = []
    for key, value in arguments.items():
        flag = "--" + key.replace("_", "-")
        if value is True:
            words.append(flag)
        elif isinstance(value, tuple):
            words += [word for each in value for word in (flag, str(each))]
        elif value not in (None, "", False):
            words += [flag, f"{value:g}s" if isinstance(value, float) else str(value)]
    return words


def _called(order: Order, *words: str) -> tuple[dict[str, Any], Done | None]:
    """A command's result; and what went wrong with it."""
    dry = ("--dry-run",) if order.dry_run else ()
    code, document = order.place.command((*words, *dry), order.place.cancel)
    droplets = document.get("droplets") or [{}]
    error = document.get("error") or droplets[0].get("error")
    if code is ExitCode.DONE:
        return droplets[0].get("result") or {}, None
    fallback = {"code": "failed", "what": f"opsctl {' '.join(words[:2])} ended with {int(code)}"}
    code_, what, why, next_ = (str((error or fallback).get(key) or "") for key in ("code", "what", "why", "next"))
    info = ErrorInfo(code_, what, why, next_)
    return {}, Done(Outcome.FAILED, info.what, info, code)


def _migrated(order: Order, *words: str) -> Done:
    result, wrong = _called(order, "migrate", *words, *(() if order.dry_run else ("--yes",)))
    if wrong is not None:
        return wrong
    if preview := result.get("preview"):
        return _previewed(preview, tuple(order.get("switch") or ()))
    counts = (result.get("receipt") or {}).get("counts") or {}
    said = [f"{counts[key]} {key}" for key in ("verified", "unchanged", "quarantined", "removed") if counts.get(key)]
    sent = tuple(order.get("switch") or ())
    said += [f"{', '.join(sent)} sent there"] if sent else []
    moved = any(counts.get(key) for key in ("verified", "removed")) or words[0] == "rollback" or bool(sent)
    return Done(Outcome.CHANGED if moved else Outcome.UNCHANGED, ", ".join(said) or "nothing to do")


def _previewed(preview: Mapping[str, Any], sent: tuple[str, ...]) -> Done:
    records, bytes_ = int(preview.get("records") or 0), int(preview.get("bytes") or 0)
    same = int(preview.get("unchanged") or 0)
    text = f"{records} records, {show_size(bytes_)}" + (f", {same} of them unchanged" if same else "")
    plan = (f"copy and verify: {text}", *([f"send {', '.join(sent)} there"] if sent else []))
    return Done(Outcome.CHANGED if records > same or sent else Outcome.UNCHANGED, text, plan=plan)


def _migrate(name: str) -> Perform:
    return lambda order: _migrated(order, name, *_words(order.arguments))


def _preview(name: str) -> Perform:
    def perform(order: Order) -> Done:
        look = Order(order.place, order.arguments, order.run_id, order.again, dry_run=True)
        done = _migrated(look, name, *_words(order.arguments))
        return done if done.error is not None else Done(Outcome.UNCHANGED, done.detail)

    return perform


def _finish(order: Order) -> Done:
    run = next(iter(_runs(order, ("complete", "partial", "finished"))), None)
    name = order.get("migration")
    if run is None:
        why = "a finish deletes what this run of the playbook has copied and verified"
        error = ErrorInfo("no-run", f"no run of {name} has ended well", why, "opsctl migrate list")
        return Done(Outcome.FAILED, error.what, error, ExitCode.FAILED)
    if run.state == "finished":
        return Done(Outcome.UNCHANGED, f"{run.run_id} is finished already")
    left = float(order.get("after", 0.0)) - _age(run)
    if left > 0 and not order.dry_run:
        what = f"the source is not emptied yet: {show_duration(left)} are left"
        why = f"{run.run_id} ended less than {show_duration(order.get('after'))} ago, and going back must stay possible"
        return Done(Outcome.FAILED, what, ErrorInfo("too-early", what, why, order.again), ExitCode.GATE)
    if order.dry_run:
        text = f"delete at the source what {run.run_id} has verified"
        return Done(Outcome.CHANGED, text, plan=(text,))
    return _migrated(order, "finish", run.run_id)


def _rollback(order: Order) -> Done:
    """Every run that this run of the playbook began, the newest first."""
    runs = _runs(order, ("complete", "partial", "finished", "stopped", "interrupted", "failed"))
    if order.dry_run:
        titles = tuple(f"take back {run.run_id} ({run.state})" for run in runs)
        return Done(Outcome.CHANGED if runs else Outcome.UNCHANGED, ", ".join(titles) or "nothing to do", plan=titles)
    for run in runs:
        done = _migrated(order, "rollback", run.run_id)
        if done.error is not None:
            return done
    names = ", ".join(run.run_id for run in runs)
    return Done(Outcome.CHANGED, f"taken back: {names}") if runs else Done(Outcome.UNCHANGED, "nothing was copied")


def _runs(order: Order, states: Iterable[str]) -> list[RunShown]:
    """The runs of a migration that were begun since this run of the playbook was, the newest first."""
    from opsctl.jobs.migration_runs import listed

    name, since = order.get("migration"), order.run_id[:_STAMP]
    return [run for run in listed(50) if run.migration == name and run.run_id[:_STAMP] >= since and run.state in states]


def _age(run: RunShown) -> float:
    """Seconds since a run ended."""
    ended = run.receipt.ended if run.receipt is not None else run.started
    return (datetime.now(UTC) - datetime.fromisoformat(ended.replace("Z", "+00:00"))).total_seconds()


def _collections(order: Order) -> Done:
    result, wrong = _called(order, "collections", "apply", *_words(order.arguments))
    if wrong is not None:
        return wrong
    found = [each for one in result.get("collections") or () for each in one.get("differences") or ()]
    titles = tuple(f"{each['doing']} {each['collection']}{each['path'] and ': '}{each['path']}" for each in found)
    plan = titles if order.dry_run else ()
    return Done(Outcome.CHANGED if found else Outcome.UNCHANGED, "; ".join(titles) or "as declared", plan=plan)


def _dns(order: Order) -> Done:
    name, value, ttl = order.get("name", ""), order.get("value", ""), order.get("ttl", 1800)
    if not name:
        return Done(Outcome.UNCHANGED, "no name is given: nothing points anywhere else")
    words = ("droplet", "dns", "set", name, order.get("type", "A"), value, "--ttl", str(ttl))
    return _changed(order, *words, *(() if order.dry_run else ("--yes",)), "-d", order.place.droplet.name)


def _volumes(order: Order) -> Done:
    rest = {key: value for key, value in order.arguments.items() if key != "volume"}
    words = ("migrate", "volumes-to-host", order.get("volume"), "--switch", *_words(rest))
    return _changed(order, *words, "-d", order.place.droplet.name)


def _changed(order: Order, *words: str) -> Done:
    result, wrong = _called(order, *words)
    if wrong is not None:
        return wrong
    plan = (result.get("changed") or result).get("plan") or {}
    titles = tuple(str(step["title"]) for step in plan.get("steps") or ())
    text = titles[0] if len(titles) == 1 else f"{len(titles)} steps" if titles else "is so already"
    return Done(Outcome.CHANGED if titles else Outcome.UNCHANGED, text, plan=titles if order.dry_run else ())


_RUN_OF = {"migration": Parameter("text", "Of which migration.", True, _MIGRATIONS)}


def _job(name: str, about: str, perform: Perform, takes: Mapping[str, Parameter], *, changes: bool = True) -> Job:
    return Job(JobSpec(name, about, takes, changes), perform)


COMMAND_JOBS = (
    _job(
        "migrate dragonfly-to-weaviate",
        "Copy memory items into a collection, verified.",
        _migrate("dragonfly-to-weaviate"),
        {**_MEMORY, **_PACE},
    ),
    _job(
        "preview dragonfly-to-weaviate",
        "See what a copy of the memory items would do, and what stands against it.",
        _preview("dragonfly-to-weaviate"),
        _MEMORY,
        changes=False,
    ),
    _job(
        "migrate qdrant-to-cloud",
        "Copy collections to another Qdrant, verified; send services there.",
        _migrate("qdrant-to-cloud"),
        {**_QDRANT, **_SWITCH, **_PACE},
    ),
    _job(
        "preview qdrant-to-cloud",
        "See what a copy of the collections would do, and what stands against it.",
        _preview("qdrant-to-cloud"),
        _QDRANT,
        changes=False,
    ),
    _job(
        "migrate finish",
        "Delete at the source what the playbook's last run of a migration has verified.",
        _finish,
        {**_RUN_OF, "after": Parameter("duration", "Not before that time has passed since it ended.")},
    ),
    _job("migrate rollback", "Take back every run of a migration that the playbook began.", _rollback, _RUN_OF),
    _job(
        "migrate volumes-to-host",
        "Move a volume's data to a folder of the host, or back, and its service with it.",
        _volumes,
        {
            "volume": Parameter("text", "Its name in the compose file.", required=True),
            "to": Parameter("text", "The folder on the droplet."),
            "back": Parameter("switch", "The other way."),
            "ignore_memory": Parameter("switch", "Start what does not fit, too."),
        },
    ),
    _job(
        "collections apply",
        "Make the collections of a Weaviate what is declared.",
        _collections,
        {
            "store": Parameter("text", "A store of the stack file; the only one there, without."),
            "file": Parameter("text", "The declaration; else collections.yaml beside the stack file."),
            "collection": Parameter("texts", "Which; else all."),
        },
    ),
    _job("droplet dns set", "Set a DNS record, and read it back.", _dns, _RECORD),
)
