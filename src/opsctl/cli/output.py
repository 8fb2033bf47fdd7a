"""One way out for every command: a JSON document or rendered text, and the exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from opsctl.model.errors import ErrorInfo, ExitCode
from opsctl.model.jsonable import to_jsonable
from opsctl.model.result import CommandResult, DropletResult

T = TypeVar("T")


def document(
    command: str, result: CommandResult[Any], *, run_id: str | None = None, error: ErrorInfo | None = None
) -> dict[str, Any]:
    """The JSON document of a command: the same envelope for all of them."""
    code = result.exit_code
    return {
        "schema": f"opsctl.{command}/1",
        "ok": code is ExitCode.DONE and error is None,
        "exit_code": int(code),
        "run_id": run_id,
        "droplets": [
            {"name": each.name, "ok": each.ok, "result": to_jsonable(each.result), "error": to_jsonable(each.error)}
            for each in result.droplets
        ],
        "error": to_jsonable(error),
    }


def error_document(command: str, error: ErrorInfo, code: ExitCode) -> dict[str, Any]:
    """The JSON document of a command that failed before it reached any droplet."""
    empty: CommandResult[Any] = CommandResult(())
    return {**document(command, empty, error=error), "ok": False, "exit_code": int(code)}


def print_json(value: dict[str, Any]) -> None:
    """Write one JSON document to stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")
    sys.stdout.flush()


def _redacted(value: Any, redact: Callable[[str], str]) -> Any:
    # Before it is JSON: a mask in the text would break numbers and quotes, and miss what JSON has escaped.
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: _redacted(item, redact) for key, item in value.items()}
    return [_redacted(item, redact) for item in value] if isinstance(value, list) else value


def finish(
    command: str,
    result: CommandResult[T],
    *,
    as_json: bool,
    render: Callable[[DropletResult[T]], None],
    run_id: str | None = None,
    redact: Callable[[str], str] = lambda text: text,
) -> ExitCode:
    """Show a result and say what the process should exit with."""
    if as_json:
        print_json(_redacted(document(command, result, run_id=run_id), redact))
        return result.exit_code
    from opsctl.render.errors import print_error

    for each in result.droplets:
        if each.result is not None:
            render(each)
        if each.error is not None:
            print_error(each.error, droplet=each.name if len(result.droplets) > 1 else "")
    return result.exit_code
