"""What a server says of itself in INFO. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from opsctl.model.measures import Measure
from opsctl.model.units import show_duration, show_size

SAVE_POINTS = "config_save"  # what CONFIG GET save says, put beside what INFO does


@dataclass(frozen=True)
class Server:
    """Which product answers. `run` tells one start of it from the next; "" where it does not say."""

    product: str
    version: str
    run: str
    cluster: bool = False
    notes: tuple[str, ...] = ()


def parse_info(text: bytes) -> dict[str, str]:
    """INFO's lines as a mapping."""
    lines = text.decode(errors="replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))


def server_of(info: Mapping[str, str]) -> Server:
    """The product: Dragonfly and Valkey name a Redis version too, so they are looked for first."""
    if version := info.get("dragonfly_version"):
        product, version = "Dragonfly", version.removeprefix("df-").removeprefix("v")
    elif version := info.get("valkey_version"):
        product = "Valkey"
    elif version := info.get("upstash_version"):
        product = "Upstash"
    else:
        product, version = "Redis", info.get("redis_version", "")
        if info.get("server_name") == "valkey":
            product = "Valkey"
    return Server(product, version, info.get("run_id", ""), info.get("redis_mode") == "cluster", tuple(notes(info)))


def notes(info: Mapping[str, str]) -> list[str]:
    """What people should know before they copy from it or to it."""
    said: list[str] = []
    if _persistence(info).value == 0:
        said.append(f"what it holds may be lost at a crash: {_persistence(info).said}")
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction" and _number(info, "maxmemory"):
        said.append(f"when full it throws keys out by itself ({policy})")
    if info.get("role") in ("slave", "replica"):
        said.append("it is a replica: what its primary does not know of, it does not take")
    if replicas := _number(info, "connected_slaves"):
        said.append(f"{replicas:.0f} replicas follow it")
    if any("subexpiry=" in value and "subexpiry=0" not in value for key, value in info.items() if _database(key)):
        said.append("it has hashes whose fields expire one by one; only DUMP and RESTORE keep that")
    return said


def keys(info: Mapping[str, str], database: int) -> int:
    """How many keys a database has."""
    pairs = dict(part.partition("=")[::2] for part in info.get(f"db{database}", "").split(","))
    return int(pairs.get("keys", "0") or 0)


def measures(info: Mapping[str, str], database: int) -> dict[str, Measure]:
    """Every measure that a probe may ask for, by the names of `model/measures.py`."""
    return {
        "hit_rate": _hit_rate(info),
        "evictions": Measure(_number(info, "evicted_keys")),
        "memory": _memory(info),
        "persistence": _persistence(info),
        "keys": Measure(keys(info, database)),
    }


def _hit_rate(info: Mapping[str, str]) -> Measure:
    hits, misses = _number(info, "keyspace_hits"), _number(info, "keyspace_misses")
    since = f"in {show_duration(_number(info, 'uptime_in_seconds'))}"
    if not hits + misses:
        return Measure(None, f"nothing was looked up {since}")
    return Measure(hits / (hits + misses), f"{hits + misses:,.0f} look-ups {since}")


def _memory(info: Mapping[str, str]) -> Measure:
    used, most = _number(info, "used_memory"), _number(info, "maxmemory")
    if most:
        return Measure(used / most, f"{show_size(round(used))} of {show_size(round(most))}")
    if host := _number(info, "total_system_memory"):
        return Measure(used / host, f"{show_size(round(used))}; no maxmemory, the host has {show_size(round(host))}")
    return Measure(None, f"{show_size(round(used))}, and no maxmemory")


def _persistence(info: Mapping[str, str]) -> Measure:
    """Whether what it holds would be there after a crash. An AOF alone is enough; a snapshot is, if it went well."""
    if info.get("loading") == "1":
        return Measure(0, "it still loads its data")
    if info.get("aof_enabled") == "1":
        if info.get("aof_last_write_status", "ok") != "ok":
            return Measure(0, "the last write to the append-only file failed")
        if info.get("aof_last_bgrewrite_status", "ok") != "ok":
            return Measure(0, "the last rewrite of the append-only file failed")
        return Measure(1, "append-only file")
    if "rdb_last_bgsave_status" not in info and "last_saved_file" not in info and "last_success_save" not in info:
        return Measure(None, "it says nothing of it")
    if info.get("rdb_last_bgsave_status", "ok") != "ok":
        return Measure(0, "the last snapshot failed")
    if _number(info, "last_failed_save") > _number(info, "last_success_save"):
        return Measure(0, "the last snapshot failed")
    if info.get(SAVE_POINTS) == "":
        return Measure(0, "no append-only file, and snapshots are off")
    if "rdb_saves" in info and not _number(info, "rdb_saves") and _number(info, "rdb_changes_since_last_save"):
        return Measure(0, "no append-only file, and no snapshot since it started")
    changes = _number(info, "rdb_changes_since_last_save") or _number(info, "rdb_changes_since_last_success_save")
    return Measure(1, f"snapshots; {changes:,.0f} changes since the last one")


def _database(key: str) -> bool:
    return key.startswith("db") and key[2:].isdigit()


def _number(info: Mapping[str, str], key: str) -> float:
    try:
        return float(info.get(key, "0"))
    except ValueError:
        return 0.0
