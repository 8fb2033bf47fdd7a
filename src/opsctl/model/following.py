"""The command to type next, for the droplet that it is about."""

from __future__ import annotations

import shlex

# Those that take a droplet; not `exec` and `migrate`, where what stands behind may be meant for somebody else.
_ABOUT_ONE = frozenset(
    {
        "audit",
        "doctor",
        "heal",
        "host",
        "lease",
        "logs",
        "memory",
        "recover",
        "restart",
        "shell",
        "startup",
        "status",
        "stop",
        "tunnel",
        "validate",
        "why",
    }
)


def about(text: str, droplet: str) -> str:
    """What is to be typed, line by line, with `-d DROPLET` where opsctl's own commands lack it."""
    return "\n".join(_about(line, droplet) for line in text.split("\n"))


def _about(line: str, droplet: str) -> str:
    command, gap, comment = line.partition("   ")  # what stands behind is said about it
    words = command.split()
    if words[:1] != ["opsctl"] or not _ABOUT_ONE & set(words[1:2]) or {"-d", "--droplet", "--"} & set(words):
        return line
    return f"{command} -d {shlex.quote(droplet)}{gap}{comment}"
