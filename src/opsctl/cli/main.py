"""The entry point: one catcher, documented exit codes."""

from __future__ import annotations

import gc
import os
import shlex
import sys
from typing import Annotated, NoReturn

import typer

from opsctl import __version__
from opsctl.cli import commands
from opsctl.cli.process import CalledAs, Process, signals
from opsctl.model.errors import ErrorInfo, ExitCode, Interrupted, OpsError, UsageError, left_out

_EPILOG = (
    "Exit codes: 0 done · 1 failed · 2 usage · 3 configuration · 4 unreachable · 5 partly done · "
    "6 lease held · 7 gate not passed · 70 bug · 130 interrupted"
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"opsctl {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Bring an agent stack up on a small droplet in phases that fit its memory, prove it, and undo it."""


def build(argv: tuple[str, ...], *, everything: bool = False) -> typer.Typer:
    """The app with the command that argv asks for loaded, the others by name only (shell completion: all)."""
    app = typer.Typer(
        name="opsctl",
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog=_EPILOG,
    )
    app.callback()(_root)
    word = next((each for each in argv if not each.startswith("-")), None)
    for command in commands.COMMANDS:
        commands.register(app, command, loaded=everything or command.name == word)
    return app


def run() -> NoReturn:
    """Run opsctl with this process's arguments and exit with the documented code."""
    # A command lives for seconds, and most of what it makes at first (modules, schemas) stays: Python's own pace would
    # look through all of it dozens of times. The peak of a report, here and on a droplet, is the same either way.
    gc.set_threshold(10_000, 20, 20)
    process = Process(tuple(sys.argv[1:]))
    with signals(process):
        code = _guarded(process)
        _flush()
    gc.freeze()  # nor is anything left to be found at the end
    sys.exit(int(code))


def _guarded(process: Process) -> int:
    try:
        app = build(process.argv, everything="_OPSCTL_COMPLETE" in os.environ)
        outcome = _call(app, process)
        return int(outcome or 0)
    except SystemExit as leaving:  # shell completion's way out
        return leaving.code if isinstance(leaving.code, int) else 1
    except OpsError as error:
        _tell(process, error.info, error.exit_code)
        return int(error.exit_code)
    except KeyboardInterrupt:
        stopped = Interrupted("stopped at once", signum=process.cancel.signum)
        _tell(process, stopped.info, stopped.exit_code)
        return int(stopped.exit_code)
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): nothing is left to tell it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.DONE)
    except ModuleNotFoundError as error:
        # What `opsctl host install` put onto a droplet is only what runs there.
        if not sys.prefix.startswith("/var/lib/opsctl/app/"):
            return _bug(process, error)
        _tell(process, left_out(error.name or "").info, ExitCode.USAGE)
        return int(ExitCode.USAGE)
    except Exception as error:  # noqa: BLE001 - the one catcher: anything that reaches it is a bug of ours
        return _bug(process, error)


def _call(app: typer.Typer, process: Process) -> int | None:
    """Let typer parse and call; once more where a bare `--resume` has found what is to be gone on with."""
    try:
        return _once(app, process)
    except CalledAs as found:
        process.argv = found.argv
        sys.stderr.write(f"goes on with  {process.redact(shlex.join(['opsctl', *found.argv]))}\n")
        return _once(app, process)


def _once(app: typer.Typer, process: Process) -> int | None:
    """Typer does not print its complaints itself: they have the form of any other error, and with --json a document."""
    argv = with_last(process.argv)
    try:
        outcome: int | None = app(args=argv, prog_name="opsctl", standalone_mode=False, obj=process)
    except typer.Abort:
        if process.cancel.cancelled:
            raise Interrupted(signum=process.cancel.signum) from None
        raise OpsError("not done: the answer was no", code="aborted") from None
    except UsageError as named:
        from opsctl.cli.wrong_usage import with_the_one_meant

        with_the_one_meant(named, process.argv)
        raise
    except Exception as wrong:
        from opsctl.cli.wrong_usage import shows_help, usage_error

        error = usage_error(wrong, process.argv)
        if error is None:
            raise
        if shows_help(wrong) and not process.as_json:
            return ExitCode.USAGE
        raise error from None
    # Typer turns an interrupt into 130, whatever the signal was; with --json the document has said the code.
    ended = process.cancel.cancelled and outcome in ((130,) if process.as_json else (1, 130))
    return 128 + process.cancel.signum if ended else outcome


def with_last(argv: tuple[str, ...]) -> list[str]:
    """The arguments with a value for a `--resume` that has none: the last run."""
    if "--resume" not in argv:
        return list(argv)
    from opsctl.jobs.resume import LAST, is_run_id

    words = list[str]()
    for number, word in enumerate(argv):
        words.append(word)
        if word == "--":
            return [*words, *argv[number + 1 :]]
        if word == "--resume" and not is_run_id(next(iter(argv[number + 1 :]), "")):
            words.append(LAST)
            _check_run(argv[:1], next(iter(argv[number + 1 :]), "-"))
    return words


def _check_run(command: tuple[str, ...], word: str) -> None:
    # Other commands have arguments of their own, and this would be one.
    if command in (("startup",), ("deploy",)) and not word.startswith("-"):
        raise UsageError(
            f"{word!r} is no run id",
            why="a run id looks like 20261120T185312-3f9a1c; --resume without one means the last run",
            next="opsctl audit",
        )


def _bug(process: Process, error: Exception) -> int:
    if any(word in process.argv for word in ("-vv", "-vvv")):
        import traceback

        sys.stderr.write(process.redact(traceback.format_exc()))
    info = ErrorInfo(
        code="bug",
        what=f"opsctl itself failed: {type(error).__name__}: {error}",
        why="this is a bug in opsctl, not in your stack",
        next="run it again with -vv and report what it shows",
    )
    _tell(process, info, ExitCode.BUG)
    return int(ExitCode.BUG)


def _tell(process: Process, info: ErrorInfo, code: ExitCode) -> None:
    from dataclasses import replace

    shown = replace(info, what=process.redact(info.what), why=process.redact(info.why), next=process.redact(info.next))
    if process.as_json:
        from opsctl.cli.output import error_document, print_json

        print_json(error_document(_name(process.argv), shown, code))
        return
    from opsctl.render.errors import print_error

    print_error(shown)


def _name(argv: tuple[str, ...]) -> str:
    from opsctl.cli.schema import RESULTS

    groups = {name.partition(".")[0] for name in RESULTS if "." in name}
    words = [each for each in argv if not each.startswith("-")][:3]
    if ".".join(words) in RESULTS:
        return ".".join(words)
    words = words[:2]
    return ".".join(words) if words and words[0] in groups else words[0] if words else "opsctl"


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    run()
