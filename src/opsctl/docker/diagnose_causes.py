"""The likely cause of a failure, in words, with what to do about it. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from opsctl.model.operate import Diagnosis
from opsctl.model.units import show_size

_DISK_FULL = 50_000_000  # bytes; below that Postgres and the engine itself stop working

# The engine's own book of ports says so, and not the kernel: only a container can have it, or nobody at all.
_ALLOCATED = r"bind for \S*?:(\d+)\S* failed: port is already allocated"
_ENGINES = ("docker-proxy", "dockerd")

# Pattern in the engine's error, the log or the health check's output → cause and advice; \1 is what was found.
_PATTERNS: tuple[tuple[str, str, str], ...] = (
    (
        _ALLOCATED,
        r"port \1 is taken: by another container, or the engine still holds it for one that is gone",
        r"on the droplet: docker ps --filter publish=\1   # where that shows none: systemctl restart docker",
    ),
    (
        r"listen (?:tcp|udp)\d? \S*?:(\d+)\S*: bind: address already",
        r"port \1 is taken by something else",
        r"on the droplet: ss -ltnp 'sport = :\1'",
    ),
    (
        r"port is already allocated",
        "a published port is taken by another container",
        "docker ps --format '{{{{.Names}}}} {{{{.Ports}}}}'",
    ),
    (r"address already in use", "a port it wants is taken", "on the droplet: ss -ltnp"),
    (r"exec format error", "the image is for another processor architecture", "rebuild the image for this droplet"),
    (
        r"exec: \"?([^\":]+)\"?: executable file not found",
        r"the image has no `\1`",
        "correct `command:` or `entrypoint:`",
    ),
    (r"error mounting \"?([^\" ]+)\"?", r"\1 cannot be mounted", "correct `volumes:` in the compose file"),
    (r"no space left on device", "the disk is full", "on the droplet: df -h; docker system df"),
    (
        r"(?:KeyError: '([A-Z][A-Z0-9_]{2,})'|(?:variable|env(?:ironment)?(?: variable)?) \"?'?`?([A-Z][A-Z0-9_]{2,}))",
        r"the environment variable \1\2 is missing",
        "set it in the env file, then: opsctl deploy",
    ),
    (
        r"([A-Z][A-Z0-9]*_[A-Z0-9_]+)\W*(?:is |must be |)(?:required|not set|missing|unset|set)\b",
        r"the environment variable \1 is missing",
        "set it in the env file, then: opsctl deploy",
    ),
    (r"no superuser password|set POSTGRES_PASSWORD", "POSTGRES_PASSWORD is missing", "set it in the env file"),
    (
        r"password authentication failed for user \"?([\w-]+)",
        r"the database refuses the password of user \1",
        "compare the passwords in the env file",
    ),
    (r"database \"([\w-]+)\" does not exist", r"the database \1 does not exist", "create it, or correct the URL"),
    (
        r"(?:could not translate host name|getaddrinfo \w+|no such host:?|lookup) \"?([\w.-]+)",
        r"the name \1 cannot be resolved",
        r"is \1 up? opsctl status",
    ),
    (
        r"Name or service not known|Temporary failure in name resolution",
        "a host name cannot be resolved",
        "is what it depends on up? opsctl status",
    ),
    (
        r"(?:ModuleNotFoundError: No module named|Cannot find module) ['\"]([\w./@-]+)",
        r"the module \1 is not in the image",
        "rebuild the image",
    ),
    (
        r"connection refused|ECONNREFUSED",
        "something it depends on refuses the connection",
        "is what it depends on up? opsctl status",
    ),
    (r"permission denied: ['\"]?([^'\"\n]+)", r"no permission for \1", "look at the owner of the volume or file"),
    (r"permission denied", "a permission is missing", "look at owner and mode of its volumes and files"),
)


def find_cause(looked: Diagnosis) -> Diagnosis:
    """The diagnosis with `cause` and `advice` filled in, as far as anything points anywhere."""
    rules: tuple[Callable[[Diagnosis], tuple[str, str] | None], ...] = (
        _memory,
        _words,
        _disk,
        _health,
        _status,
        _loop,
    )
    for rule in rules:
        answer = rule(looked)
        if answer:
            return replace(looked, cause=answer[0], advice=answer[1])
    return looked


def name_holder(looked: Diagnosis, held: str) -> Diagnosis:
    """With who has the port that the engine refused.

    `held` has lines `container NAME ID`, `program NAME PID`, and `restart COMMAND` where anybody looked.

    An engine that was killed while it started a container has that one's port ever after, for nobody: libnetwork takes
    the mapping up again at its start and then forgets whose it was.
    """
    refused = re.search(_ALLOCATED, looked.error, re.IGNORECASE)
    lines = [(kind, rest) for kind, _, rest in (line.partition(" ") for line in held.splitlines()) if rest]
    found = dict(reversed(lines))
    if refused is None or "restart" not in found:
        return looked
    port = f"port {refused[1]}"
    if "container" in found:
        name = found["container"].split()[0]
        return replace(
            looked, cause=f"{port} is taken by container {name}", advice=f"on the droplet: docker stop {name}"
        )
    others = [rest.split() for kind, rest in lines if kind == "program" and rest.split()[0] not in _ENGINES]
    if others:
        name, pid = others[0]
        return replace(
            looked, cause=f"{port} is taken by {name} (process {pid})", advice=f"on the droplet: ps -fp {pid}"
        )
    return replace(
        looked,
        stale_port=int(refused[1]),
        cause=f"{port} is held by the Docker engine for a container that is gone: no container has it, and no program",
        advice=f"on the droplet: {found['restart']}   # all its containers start again; then opsctl startup",
    )


def _memory(looked: Diagnosis) -> tuple[str, str] | None:
    if looked.oom == "limit" or (looked.oom == "unknown" and looked.memory_limit):
        sure = "" if looked.oom == "limit" else "probably "
        limit = show_size(looked.memory_limit)
        return (
            f"it was {sure}killed for going over its own memory limit of {limit}",
            f"raise the limit of {looked.service} in the compose file (now {limit}), then: opsctl deploy",
        )
    if looked.oom:
        return "it was killed because the host ran out of memory", "opsctl memory report"
    return None


def _words(looked: Diagnosis) -> tuple[str, str] | None:
    health = [result.output for result in looked.health_log if result.exit_code]
    # The engine's own error first; then the last log lines, the newest first: the last words count most.
    for text in (looked.error, *reversed(looked.log), *reversed(health)):
        for pattern, cause, advice in _PATTERNS:
            match = re.search(pattern, text, re.IGNORECASE if "A-Z]" not in pattern else 0)
            if match:
                return _fill(match, cause), _fill(match, advice)
    return None


def _fill(match: re.Match[str], text: str) -> str:
    return (
        re.sub(r"\\(\d)", lambda number: match[int(number[1])] or "", text).replace("{{{{", "{{").replace("}}}}", "}}")
    )


def _disk(looked: Diagnosis) -> tuple[str, str] | None:
    if looked.disk_free is not None and looked.disk_free < _DISK_FULL:
        return f"the disk is full ({show_size(looked.disk_free)} free)", "on the droplet: df -h; docker system df"
    return None


def _health(looked: Diagnosis) -> tuple[str, str] | None:
    bad = [result.output.strip() for result in looked.health_log if result.exit_code]
    if looked.status == "running" and bad:
        said = bad[-1].splitlines()[-1] if bad[-1] else "it says nothing"
        return f"its health check fails: {said}", f"opsctl logs {looked.service}"
    return None


def _status(looked: Diagnosis) -> tuple[str, str] | None:
    logs = f"opsctl logs {looked.service}"
    known = {
        126: ("its command cannot be executed", "look at the mode of the entrypoint"),
        127: ("its command was not found in the image", "correct `command:` or `entrypoint:`"),
        132: ("it used an instruction that this processor does not have", "rebuild the image for this droplet"),
        134: ("it aborted", logs),
        137: ("it was killed from outside (SIGKILL)", "on the droplet: dmesg | tail; opsctl memory report"),
        139: ("it crashed (segmentation fault)", logs),
        143: ("it was told to stop (SIGTERM)", "opsctl audit"),
    }
    return None if looked.status == "running" else known.get(looked.exit_code)


def _loop(looked: Diagnosis) -> tuple[str, str] | None:
    logs = f"opsctl logs {looked.service}"
    if looked.restarts > 1 and looked.status in ("restarting", "exited", "running"):
        # Between two lives the engine says 0: the code is the last end's only while it does not run.
        code = "" if looked.status == "running" else f", exit code {looked.exit_code}"
        return f"it crashes in a loop ({looked.restarts} restarts{code})", logs
    if looked.status in ("exited", "dead", "restarting"):
        return f"it ended by itself with exit code {looked.exit_code}", logs
    return None
