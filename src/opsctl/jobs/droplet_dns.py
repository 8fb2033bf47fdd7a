"""`opsctl droplet dns`: records shown, set, and put back; what one was is kept before it is changed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any, ClassVar

from opsctl.model.cancel import Cancel
from opsctl.model.cloud import Cloud, CloudRecord
from opsctl.model.droplet import KeptRecord, Names
from opsctl.model.errors import ConfigError, PlanMoved, StepFailed, UsageError
from opsctl.model.events import Outcome
from opsctl.model.plan import Action, Plan, Step
from opsctl.spine.batch import Batch, Handler
from opsctl.spine.journal import state_home

TYPES = ("A", "AAAA", "CAA", "CNAME", "MX", "NS", "SRV", "TXT")
_TARGETS = ("CNAME", "MX", "NS", "SRV")  # their value is a name, which the API wants with a dot at its end


@dataclass(frozen=True)
class SetRecord(Action):
    """Make a record so; `was` None where there is none. `restores`: the run whose change is taken back."""

    kind: ClassVar[str] = "dns-set"
    was: CloudRecord | None
    record: CloudRecord
    restores: str = ""


@dataclass(frozen=True)
class DropRecord(Action):
    """Delete a record that there was none of before; `restores`: the run whose change is taken back."""

    kind: ClassVar[str] = "dns-delete"
    record: CloudRecord
    restores: str


def names(cloud: Cloud, name: str, *, cancel: Cancel) -> Names:
    """The records of a name, of a domain, or of all domains ("")."""
    every = cloud.domains(cancel=cancel)
    domains = [_domain(name, every)] if name else every
    found = [each for domain in domains for each in cloud.records(domain, cancel=cancel)]
    if name and name.rstrip(".").lower() not in domains:
        found = [each for each in found if each.host == name.rstrip(".").lower()]
    hosts = {each.host for each in found} | ({name.rstrip(".").lower()} if name else set())
    return Names(tuple(found), tuple(each for each in kept() if not name or each.after.host in hosts))


def plan_set(
    cloud: Cloud, name: str, kind: str, value: str, *, ttl: int, replace_value: str = "", cancel: Cancel
) -> tuple[Plan, tuple[str, ...]]:
    """Make the one record of this name and type so. Raises UsageError where there are several."""
    kind, host = kind.upper(), name.rstrip(".").lower()
    if kind not in TYPES:
        raise UsageError(f"{kind} is not a type of record", why=", ".join(TYPES), next="opsctl droplet dns show")
    domain = _domain(host, cloud.domains(cancel=cancel))
    relative = "@" if host == domain else host.removesuffix(f".{domain}")
    same = [each for each in cloud.records(domain, cancel=cancel) if each.type == kind and each.name == relative]
    before = _which(same, host, kind, replace_value)
    priority = before.priority if before else 10 if kind == "MX" else None
    after = replace(
        before or CloudRecord(0, domain, kind, relative, value, ttl, priority), data=_value(kind, value), ttl=ttl
    )
    if before is not None and _same(before, after):
        return Plan("droplet dns set", ()), (f"{shown(before)} already",)
    text = f"{shown(before)} → {shown(after)}" if before else f"new: {shown(after)}"
    note = (f"resolvers may hold what it was for {before.ttl} s more",) if before else ()
    return Plan("droplet dns set", (Step(f"dns-set:{host}", text, SetRecord(before, after)),)), note


def _which(same: Sequence[CloudRecord], host: str, kind: str, old: str) -> CloudRecord | None:
    chosen = [each for each in same if not old or each.data.rstrip(".") == old.rstrip(".")]
    if old and not chosen:
        have = ", ".join(each.data for each in same) or "none"
        raise UsageError(
            f"{host} has no {kind} record {old}", why=f"it has: {have}", next=f"opsctl droplet dns show {host}"
        )
    if len(chosen) > 1:
        raise UsageError(
            f"{host} has {len(chosen)} {kind} records",
            why=", ".join(each.data for each in chosen),
            next=f"say which one is meant: --replace {chosen[0].data}",
        )
    return chosen[0] if chosen else None


def _value(kind: str, value: str) -> str:
    if kind in ("A", "AAAA"):
        try:
            if ip_address(value).version != (4 if kind == "A" else 6):
                raise ValueError
        except ValueError:
            example = "203.0.113.7" if kind == "A" else "2001:db8::7"
            raise UsageError(f"{value!r} is no address of type {kind}", why=f"one looks like {example}") from None
    if kind not in _TARGETS or value == "@" or value.endswith("."):
        return value
    return f"{value}."


def plan_restore(cloud: Cloud, name: str, kind: str, *, cancel: Cancel) -> tuple[Plan, tuple[str, ...]]:
    """Put back what was there before the last change by opsctl, of this record or of any ("")."""
    host = name.rstrip(".").lower()
    found = [
        each
        for each in kept()
        if (not host or each.after.host == host) and (not kind or each.after.type == kind.upper())
    ]
    if not found:
        about = f" of {host}" if host else ""
        raise UsageError(
            f"there is nothing to put back{about}",
            why=f"opsctl on this machine has changed no such record, or put it back already ({_file()})",
            next="opsctl droplet dns show",
        )
    for last in reversed(found):
        now = [each for each in cloud.records(last.after.domain, cancel=cancel) if _is(each, last)]
        # A change that a kill kept from being made, or that somebody took back by hand.
        if not (_same(now[0], last.before) if now and last.before else not now and not last.before):
            return _put_back(last, now)
    texts = tuple(f"{shown(each.before) if each.before else f'no {each.after.host}'} already" for each in found[-1:])
    return Plan("droplet dns restore", ()), texts


def _put_back(last: KeptRecord, now: Sequence[CloudRecord]) -> tuple[Plan, tuple[str, ...]]:
    if now and not _same(now[0], last.after):
        again = f"opsctl droplet dns set {last.after.host} {last.after.type}"
        old = f"{again} {last.before.data} --ttl {last.before.ttl}" if last.before else "opsctl droplet dns show"
        raise PlanMoved(
            f"{last.after.host} was changed since by somebody else",
            why=f"it was set to {shown(last.after)}, and is {shown(now[0])}",
            next=old,
        )
    title = f"{shown(last.after)} → {shown(last.before)}" if last.before else f"delete {shown(last.after)}"
    action: Action = (
        SetRecord(now[0] if now else None, replace(last.before, id=now[0].id if now else 0), last.run)
        if last.before
        else DropRecord(now[0], last.run)
    )
    return Plan("droplet dns restore", (Step(f"{action.kind}:{last.after.host}", title, action),)), ()


def _is(there: CloudRecord, change: KeptRecord) -> bool:
    after = change.after
    known = after.id or (change.before.id if change.before else 0)
    same_name = (there.type, there.name) == (after.type, after.name)
    return same_name and (there.id == known if known else _same(there, after))


def handlers(cloud: Cloud, run: str, at: str) -> Mapping[str, Handler]:
    """By kind of action. What was there is written down before it is changed."""

    def put(batch: Batch) -> None:
        for step in batch.steps:
            action = step.action
            assert isinstance(action, SetRecord)
            if not action.restores:
                _keep(KeptRecord(at, run, action.was, action.record))
            try:
                there = cloud.put_record(action.record, cancel=batch.cancel)
            except (StepFailed, ConfigError, UsageError):
                if not action.restores:
                    _restored(run, action.record.host)  # refused: there is nothing to put back
                raise
            if not action.restores and not action.record.id:
                _keep(KeptRecord(at, run, action.was, there))
            seen = [each for each in cloud.records(there.domain, cancel=batch.cancel) if each.id == there.id]
            if not seen or not _same(seen[0], action.record):
                raise StepFailed(
                    f"{there.host} was set, and is not so",
                    why=f"read back: {shown(seen[0]) if seen else 'no such record'}",
                    next=f"opsctl droplet dns show {there.host}",
                )
            _restored(action.restores, there.host)
            batch.done(step, Outcome.CHANGED, f"{shown(there)}, read back")

    def drop(batch: Batch) -> None:
        for step in batch.steps:
            assert isinstance(step.action, DropRecord)
            cloud.delete_record(step.action.record, cancel=batch.cancel)
            _restored(step.action.restores, step.action.record.host)
            batch.done(step, Outcome.CHANGED, f"deleted {shown(step.action.record)}")

    return {SetRecord.kind: Handler(put), DropRecord.kind: Handler(drop)}


def _same(one: CloudRecord, other: CloudRecord) -> bool:
    def plain(each: CloudRecord) -> CloudRecord:
        return replace(each, id=0, data=each.data.rstrip("."))

    return plain(one) == plain(other)


def shown(record: CloudRecord) -> str:
    """`api.example.com A 203.0.113.7 (TTL 900)`."""
    extra = f" priority {record.priority}" if record.priority is not None else ""
    return f"{record.host} {record.type} {record.data}{extra} (TTL {record.ttl})"


def _domain(name: str, domains: Sequence[str]) -> str:
    host = name.rstrip(".").lower()
    fitting = [each for each in domains if host == each or host.endswith(f".{each}")]
    if not fitting:
        raise UsageError(
            f"{host} is in none of the provider's domains",
            why=f"it serves {', '.join(domains) or 'none'}",
            next="opsctl droplet dns show",
        )
    return max(fitting, key=len)


# What was there before, on this machine


def _file() -> Path:
    return state_home() / "dns.jsonl"


def kept() -> tuple[KeptRecord, ...]:
    """The changes that can be put back, the oldest first."""
    try:
        lines = _file().read_text(encoding="utf-8").splitlines()
    except OSError:
        return ()
    open_: dict[tuple[str, str], KeptRecord] = {}
    for line in lines:
        try:
            value: dict[str, Any] = json.loads(line)
            key = (str(value["run"]), str(value["host"]))
            if value.get("restored"):
                open_.pop(key, None)
            else:
                before = CloudRecord(**value["before"]) if value["before"] else None
                open_[key] = KeptRecord(str(value["at"]), key[0], before, CloudRecord(**value["after"]))
        except (ValueError, KeyError, TypeError):
            continue  # torn by a crash: what it was about has not been begun
    return tuple(open_.values())


def _keep(change: KeptRecord) -> None:
    _append({"run": change.run, "host": change.after.host, **asdict(change)})


def _restored(run: str, host: str) -> None:
    if run:
        _append({"run": run, "host": host, "restored": True})


def _append(value: Mapping[str, Any]) -> None:
    path = _file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        number = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(number, (json.dumps(value, ensure_ascii=False) + "\n").encode())
            os.fsync(number)
        finally:
            os.close(number)
    except OSError as error:
        raise StepFailed(
            "what the record was cannot be kept, and so it was not changed",
            why=f"{path}: {error.strerror or error}",
            next=f"ls -ld {path.parent}",
        ) from None
