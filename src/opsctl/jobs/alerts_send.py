"""Brings one message to a webhook, a command on the droplet, or a dead man's switch; says what came back."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from opsctl import __version__
from opsctl.model.alerts import Delivery
from opsctl.model.cancel import Cancel
from opsctl.model.ports import Script, Shell
from opsctl.model.secret import Secret

_BOUND = 10.0  # s for one try
_TRIES = 3
_PAUSE = 2.0  # s
_LARGEST = 3500  # characters; chats cut longer messages, or refuse them


def post(url: Secret, message: str, more: Mapping[str, Any], *, cancel: Cancel) -> Delivery:
    """Send a message as JSON: `text` is what Slack and Mattermost show, `content` what Discord does."""
    text = message[:_LARGEST]
    body = json.dumps({"text": text, "content": text[:1900], **more}, ensure_ascii=False).encode()
    return _patiently("webhook", "POST", url, body, cancel)


def ping(url: Secret, *, cancel: Cancel) -> Delivery:
    """Ask for the dead man's switch's URL."""
    return _patiently("ping", "GET", url, None, cancel)


def command(shell: Shell, text: Secret, message: str, *, cancel: Cancel) -> Delivery:
    """Run a command on the droplet with the message on its stdin."""
    began = time.monotonic()
    script = Script(
        'exec bash -c "$OPSCTL_ALERT_COMMAND"', secrets={"OPSCTL_ALERT_COMMAND": text}, stdin=message.encode()
    )
    done = shell.run(script, cancel=cancel, timeout=30)
    said = (done.error_text or done.text).strip().splitlines()
    error = "" if done.code == 0 else said[-1] if said else f"exit status {done.code}"
    return Delivery("command", "the droplet", done.code == 0, done.code, time.monotonic() - began, error)


def _patiently(way: str, method: str, url: Secret, body: bytes | None, cancel: Cancel) -> Delivery:
    """Try again where that may help: nothing answered, or the peer is in trouble itself."""
    for attempt in range(_TRIES):
        sent = _once(way, method, url, body)
        again = sent.status is None or sent.status == 429 or sent.status >= 500
        if sent.ok or not again or attempt == _TRIES - 1 or cancel.wait(_PAUSE):
            break
    return sent


def _once(way: str, method: str, url: Secret, body: bytes | None) -> Delivery:
    """One request. The URL is a secret: only its host is ever said."""
    import http.client  # with TLS it is 2 MB, which a look that has nothing to tell needs not load

    began = time.monotonic()
    to, status, error = "?", None, ""
    try:
        split = urlsplit(url.reveal())
        to = split.hostname or "?"
        if split.scheme not in ("http", "https") or not split.hostname:
            return Delivery(way, to, False, None, 0.0, "it is not an http(s):// URL")
        kind = http.client.HTTPSConnection if split.scheme == "https" else http.client.HTTPConnection
        connection = kind(split.hostname, split.port, timeout=_BOUND)
        path = (split.path or "/") + (f"?{split.query}" if split.query else "")
        headers = {"User-Agent": f"opsctl/{__version__}"} | ({"Content-Type": "application/json"} if body else {})
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            status = answer.status
            answer.read(1024)
        finally:
            connection.close()
        if not 200 <= status < 300:
            error = f"it answered {status} {answer.reason}"
    except (OSError, http.client.HTTPException, ValueError) as failure:
        error = _plain(failure)
    return Delivery(way, to, not error, status, time.monotonic() - began, error)


def _plain(failure: Exception) -> str:
    """What went wrong without anything that could hold a part of the URL."""
    if isinstance(failure, TimeoutError):
        return f"no answer within {_BOUND:.0f} s"
    if isinstance(failure, OSError) and failure.strerror:
        return failure.strerror
    return type(failure).__name__
