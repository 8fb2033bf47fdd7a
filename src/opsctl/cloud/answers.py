"""What an answer of the API means: pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

from opsctl.model.errors import ConfigError, OpsError, StepFailed, UnreachableError, UsageError

_LONGEST = 60.0  # s; a rate limit that lasts longer is told, not waited for

_PLENTY = 200  # requests that may be left before looks are spaced out
_SLOWEST = 30.0  # s


class Again(Exception):
    """A repetition may help and does no harm; `after` is how long the API asks to wait. `final` if it never helps."""

    def __init__(self, final: OpsError, after: float | None = None) -> None:
        super().__init__(final.info.what)
        self.final = final
        self.after = after


class Lost(Exception):
    """Something was sent that changes something, and nobody knows whether it was done."""

    def __init__(self, final: OpsError) -> None:
        super().__init__(final.info.what)
        self.final = final


def judge(status: int, headers: Mapping[str, str], content: bytes, request: str, *, api: str) -> Any:
    """The JSON of a good answer. Raises what a bad one means, Again or Lost where that is not yet known."""
    body = _json(content)
    if 200 <= status < 300:
        if body is None and content.strip():
            raise UnreachableError(f"{api} answers something that is not its API", why=f"{request}: no JSON")
        return body
    said = _said(body)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return _limited(headers, said, api)
    if status >= 500:
        final = UnreachableError(
            f"{api} has a fault of its own (HTTP {status})",
            why=said or request,
            next="https://status.digitalocean.com",
            code="provider-fault",
        )
        raise Lost(final) if request.startswith("POST ") else Again(final)
    raise _refused(status, said, request, api)


def _refused(status: int, said: str, request: str, api: str) -> OpsError:
    why = f"{said} ({request}: HTTP {status})" if said else f"{request}: HTTP {status}"
    if status == HTTPStatus.UNAUTHORIZED:
        return ConfigError(
            f"{api} refuses the token",
            why=why,
            next="make a new one: https://cloud.digitalocean.com/account/api/tokens",
            code="token-refused",
        )
    if status == HTTPStatus.FORBIDDEN:
        return ConfigError(
            f"the token may not do this at {api}",
            why=why,
            next="give it the scope: https://cloud.digitalocean.com/account/api/tokens",
            code="token-scope",
        )
    if status == HTTPStatus.NOT_FOUND:
        return UsageError(f"{api} does not know it", why=why, next="opsctl droplet list", code="not-found")
    return StepFailed("the provider refuses", why=why, next="opsctl droplet show", code="provider-refused")


def _limited(headers: Mapping[str, str], said: str, api: str) -> Any:
    after = _retry_after(headers)
    final = UnreachableError(
        f"{api} takes no more requests for now (rate limit)",
        why=said or "HTTP 429",
        next="opsctl droplet show" if after is None else f"sleep {after:.0f} && opsctl droplet show",
        code="rate-limit",
    )
    if after is not None and after > _LONGEST:
        raise final
    raise Again(final, after)


def seconds_to_wait(asked: float) -> float:
    """What the API asked for, and a little more: its clock and ours are not one."""
    return max(0.2, asked + 0.1)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from Retry-After (a number or a date) or from the time at which the limit is full again."""
    asked = headers.get("retry-after", "").strip()
    if asked.replace(".", "", 1).isdigit():
        return float(asked)
    try:
        if asked:
            return max(0.0, (parsedate_to_datetime(asked) - _now(headers)).total_seconds())
        reset = headers.get("ratelimit-reset", "")
        if reset.isdigit():
            return max(0.0, float(reset) - _now(headers).timestamp())
    except (ValueError, TypeError):
        pass
    return None


def spacing(headers: Mapping[str, str]) -> float:
    """Seconds between two looks so that what is left of the rate limit lasts; 0 while there is plenty."""
    left, reset = headers.get("ratelimit-remaining", ""), headers.get("ratelimit-reset", "")
    if not left.isdigit() or int(left) >= _PLENTY or not reset.isdigit():
        return 0.0
    return min(_SLOWEST, max(0.0, float(reset) - _now(headers).timestamp()) / max(1, int(left)))


def _now(headers: Mapping[str, str]) -> datetime:
    """By the API's own clock where it says what that is."""
    try:
        return parsedate_to_datetime(headers["date"])
    except (KeyError, ValueError, TypeError):
        return datetime.now(UTC)


def _json(content: bytes) -> Any:
    try:
        return json.loads(content) if content.strip() else None
    except ValueError:
        return None


def _said(body: Any) -> str:
    return str(body.get("message", "")).strip() if isinstance(body, dict) else ""
