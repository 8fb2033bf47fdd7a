"""What goes over an agent's channel: the text that starts it, requests, and the frames that come back."""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final, Literal

from opsctl.model.ports import Script

Sudo = Literal["auto", "always", "never"]

# Runs before the agent: decides about sudo, then takes the agent's own text from stdin, so that no argument list
# holds more than this. `read -N` takes a pipe in large bites where `bash -s` would take it byte by byte.
_LOADER: Final = r"""
_o_go='LC_ALL=C; IFS= read -rN "$1" _o_text && _o_sudo=$2 && eval "$_o_text"'
if [ "$2" = auto ]; then
  _o_way=direct
  if [ "$UID" != 0 ]; then
    _o_way=sudo
    for _o_s in ${4:+"${4#unix://}"} "${DOCKER_HOST#unix://}" "$XDG_RUNTIME_DIR/docker.sock" \
        "/run/user/$UID/docker.sock" /var/run/docker.sock; do
      [ -S "$_o_s" ] && _o_engine=1 && [ -w "$_o_s" ] && _o_way=direct && break
    done
  fi
elif [ "$2" = always ] && [ "$UID" != 0 ]; then _o_way=sudo _o_engine=1
else _o_way=direct
fi
if [ $_o_way = sudo ]; then
  if [ -n "$_o_engine" ]; then
    sudo -n -- bash -c "$_o_go" opsctl-agent "$1" sudo
    _o_c=$?
    [ $_o_c = 0 ] || [ $_o_c -gt 128 ] && exit $_o_c
    printf '\n@%s denied %s %s\n' "$3" "${USER:-?}" "$2"
    exit 1
  fi
  sudo -n true 2>/dev/null && exec sudo -n -- bash -c "$_o_go" opsctl-agent "$1" sudo
fi
set -- "$1" direct
eval "$_o_go"
"""


@cache
def _agent_text() -> str:
    return Path(__file__).with_name("agent.sh").read_text(encoding="utf-8")


def agent_text(nonce: str, silence: float) -> bytes:
    """The agent with its settings; `silence` in seconds."""
    settings = f"_o_nonce={nonce} _o_silence={silence:g} _o_stdbuf="
    return "\n".join([_agent_text(), settings, "_o_start", "_o_main\n"]).encode()


def file_name(scope: str) -> str:
    """A scope as the name of its files."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", scope)


def loader(nonce: str, length: int, sudo: Sudo, socket: str | None) -> list[str]:
    """The argv that waits for `length` bytes of agent on stdin."""
    return ["bash", "-c", _LOADER, "opsctl-agent", str(length), sudo, nonce, socket or ""]


def request(number: int, slot: int, kind: Literal["r", "s"], script: Script, lease: int) -> bytes:
    """A script as a request; `r` collects its output, `s` streams its lines. `lease` 0 is none."""
    text = compose(script)
    stdin = base64.b64encode(script.stdin or b"")
    return f"r {number} {slot} {kind} {lease} {len(text)} {len(stdin)}\n".encode() + text + stdin


def lease_request(number: int, state_dir: str, scope: str, holder: Mapping[str, str], under: str = "") -> bytes:
    """Ask for a lease, or with `under` to work beside the run that has it.

    The agent adds boot id, uptime and process to the holder, so its last brace is left off.
    """
    text = "\n".join([state_dir, file_name(scope), under, json.dumps(dict(holder))[:-1], ""]).encode()
    return f"l {number} {len(text)}\n".encode() + text


def compose(script: Script) -> bytes:
    """Arguments, secrets and the constant text as one piece of bash; goes over stdin, never into an argv."""
    lines = [shlex.join(["set", "--", *script.args])]
    lines += [f"export {name}={shlex.quote(value.reveal())}" for name, value in script.secrets.items()]
    return "\n".join([*lines, script.text]).encode("utf-8", "surrogateescape")
