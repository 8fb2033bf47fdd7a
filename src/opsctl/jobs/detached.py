"""A migration that runs on a droplet by itself: opsctl is carried there with what it needs, and is started."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from opsctl.jobs.call import STATE_DIR
from opsctl.jobs.doctor_checks import sections
from opsctl.jobs.host_actions import carry_over, must
from opsctl.jobs.host_facts import as_root
from opsctl.model.cancel import Cancel
from opsctl.model.droplet_app import Bundle, Target
from opsctl.model.errors import ErrorInfo, ExitCode, OpsError, StepFailed, UsageError
from opsctl.model.migrate import Progress
from opsctl.model.ports import Host, Shell
from opsctl.model.stackfile_droplet import SECRETS, DropletFiles
from opsctl.model.units import show_size
from opsctl.spine.run_folder import progress_of

FOLDER = f"{STATE_DIR}/migrations"
APPS = f"{FOLDER}/app"
_START_WITHIN = 90  # s; a small machine compiles nothing and still takes long to import a database's client
_BOUND = 120.0  # s

_LOOK = r"""
printf '@@systemd\n'; [ ! -d /run/systemd/system ] || command -v systemd-run
printf '@@available\n'; awk '/^MemAvailable:/ { print $2 * 1024 }' /proc/meminfo
printf '@@there\n'; [ ! -x "$1/$2/bin/opsctl" ] || echo yes
printf '@@current\n'; readlink -- "$1/current"
printf '@@runs\n'; sed -n 's/^ *"migration": "\([a-z-]*\)",$/\1/p' "${1%/*}"/*/run.json 2>/dev/null | sort -u
exit 0
"""

# stdin: a tar of the configuration, or nothing. $1 folder, $2 run, $3 name of the unit, $4 bytes of memory, $5 opsctl,
# $6 seconds to wait, $7 yes where stdin is a tar; the rest is what opsctl is called with.
_START = r"""
set -e
umask 077
export LC_ALL=C PATH="$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
at=$1/$2 run=$2 unit=$3 memory=$4 bin=$5 within=$6 state=${1%/opsctl/migrations}; tar=$7; shift 7
mkdir -p -- "$at"; chmod 700 -- "${at%/*}" "$at"
[ "$tar" != yes ] || tar -x -p -m -C "$at" --no-same-owner
cd "$at"
: >>log; : >.begun
export XDG_STATE_HOME=$state OPSCTL_MIGRATION_RUN=$run
if [ -d /run/systemd/system ]; then
  systemctl reset-failed "$unit" 2>/dev/null || true
  systemd-run --quiet --collect --unit "$unit" --property=Type=exec --property=MemoryMax="$memory" \
    --property=MemorySwapMax=0 --property=TimeoutStopSec=300 --property=UMask=0077 --working-directory="$at" \
    --property=StandardOutput=append:"$at/log" --property=StandardError=append:"$at/log" \
    --setenv=XDG_STATE_HOME="$state" --setenv=OPSCTL_MIGRATION_RUN="$run" -- "$bin" "$@" </dev/null >&2
  alive() { systemctl is-active --quiet "$unit"; }
else
  setsid "$bin" "$@" </dev/null >>log 2>&1 &
  pid=$!; printf '%s\n' "$pid" >pid
  alive() { kill -0 "$pid" 2>/dev/null; }
fi
for _ in $(seq $((within * 2))); do
  [ ! run.json -nt .begun ] || exit 0
  alive || break
  sleep 0.5
done
[ ! run.json -nt .begun ] || exit 0
tail -n 6 log >&2
exit 1
"""

# $1 folder, $2 run. A line of JSON a second, until its process is gone.
_FOLLOW = r"""
cd -- "$1/$2" || exit 1
while :; do
  [ ! -s progress.json ] || { tr -d '\n' <progress.json; echo; }
  pid=$(sed -n 's/^ *"pid": \([0-9]*\),.*/\1/p' run.json)
  [ "${pid:-0}" -gt 0 ] && kill -0 "$pid" 2>/dev/null || break
  sleep 1
done
"""

# $1 the run's folder. A last line that is being written has no end yet, and is left out.
_EXPORT = r"""
file=$1/export.jsonl
[ -s "$file" ] || exit 0
size=$(stat -c %s -- "$file")
if [ -z "$(tail -c "+$size" -- "$file" | head -c 1)" ]; then head -c "$size" -- "$file"
else head -c "$size" -- "$file" | sed '$d'; fi
"""

_CALL = r"""
export XDG_STATE_HOME=${1%/opsctl/migrations} LC_ALL=C.UTF-8
bin=$1/app/current/bin/opsctl; shift
[ -x "$bin" ] || { echo 'no migration was ever begun there' >&2; exit 99; }
exec "$bin" "$@"
"""
_NEVER = 99

_LINK = 'ln -sfn -- "$1/$2" "$1/.current" && mv -fT -- "$1/.current" "$1/current"'


@dataclass(frozen=True)
class There:
    """A droplet, as a migration sees it. Bytes."""

    systemd: bool
    available: int
    app: bool  # this very opsctl is there already
    migrations: tuple[str, ...] = ()  # those that have runs there


def look(shell: Shell, name: str, *, cancel: Cancel) -> There:
    """Read the droplet; `name` is the bundle's."""
    found = sections(shell.run(as_root(_LOOK, APPS, name), cancel=cancel, timeout=_BOUND).text)
    said = {key: value.strip() for key, value in found.items()}
    return There(
        bool(said.get("systemd")),
        int(said.get("available") or 0),
        said.get("there") == "yes",
        tuple(said.get("runs", "").split()),
    )


def check_memory(there: There, needs: int, reserve: int, droplet: str) -> None:
    """Refuse what would not fit. Raises OpsError."""
    if there.available - reserve >= needs:
        return
    raise OpsError(
        f"the migration does not fit on {droplet}",
        why=f"it may take {show_size(needs)}; {show_size(there.available)} are available,"
        f" of which {show_size(reserve)} are kept in reserve",
        next=f"opsctl memory report -d {droplet}   (or run it from here, without --on)",
        code="no-memory",
    )


def install(
    host: Host, bundle: Bundle, target: Target, there: There, *, told: Callable[[str], None], cancel: Cancel
) -> None:
    """Carry opsctl there where it is not yet, apart from the droplet's own. Raises StepFailed."""
    if not there.app:
        unpack = carry_over(host, bundle, target, folder=APPS, told=told, cancel=cancel)
        must(host.run(unpack, cancel=cancel, timeout=600), "opsctl could not be unpacked and started there")
    must(host.run(as_root(_LINK, APPS, bundle.name), cancel=cancel, timeout=30), f"{APPS} cannot be written")


def start(
    host: Host, run: str, words: Sequence[str], *, memory: int, files: DropletFiles | None, cancel: Cancel
) -> None:
    """Begin a run, or something else with it, and wait until it has begun. Raises StepFailed with its last words."""
    script = as_root(
        _START,
        FOLDER,
        run,
        unit_of(run),
        str(memory),
        f"{APPS}/current/bin/opsctl",
        str(_START_WITHIN),
        "yes" if files is not None else "no",
        *words,
        stdin=_archive(files) if files is not None else None,
    )
    done = host.run(script, cancel=cancel, timeout=_START_WITHIN + 60)
    if done.code != 0:
        said = [line for line in done.error_text.splitlines() if line.strip()]
        raise StepFailed(
            "it did not begin on the droplet",
            why="\n".join(line.strip() for line in said) or f"exit status {done.code}",
            next=f"on the droplet: cat {FOLDER}/{run}/log",
            code="not-begun",
        )


def unit_of(run: str) -> str:
    """The name of a run's systemd unit."""
    return f"opsctl-migrate-{run}.service"


def _archive(files: DropletFiles) -> bytes:
    """The stack file and its secrets, for root alone; over stdin, so that they are in no argument list."""
    buffer = io.BytesIO()
    contents = {"opsctl.yaml": files.text.encode(), **files.files}
    if files.secrets:
        contents[SECRETS] = files.secrets_text().reveal().encode()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in sorted(contents.items()):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o600
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def follow(shell: Shell, run: str, *, cancel: Cancel) -> Iterator[Progress]:
    """How far a run on the droplet is, once a second, until its process is gone. Raises StepFailed, Interrupted."""
    for line in shell.stream(as_root(_FOLLOW, FOLDER, run), cancel=cancel, timeout=None):
        try:
            yield progress_of(json.loads(line))
        except (ValueError, KeyError, TypeError):
            continue  # caught between two writes


def export_lines(shell: Shell, folder: str, *, cancel: Cancel) -> Iterator[str]:
    """The lines of a run's export; none where there is none. Raises StepFailed, Interrupted, UnreachableError."""
    yield from shell.stream(as_root(_EXPORT, folder), cancel=cancel, timeout=None)


def ask(shell: Shell, words: Sequence[str], droplet: str, *, cancel: Cancel) -> dict[str, Any]:
    """The result of one of opsctl's own commands there. Raises what it said; UsageError where none ever ran."""
    done = shell.run(as_root(_CALL, FOLDER, *words, "--json"), cancel=cancel, timeout=_BOUND)
    if done.code == _NEVER:
        raise UsageError(f"no migration was ever begun on {droplet}", next=f"opsctl migrate list   (not -d {droplet})")
    try:
        document = json.loads(done.text)
    except ValueError:
        said = (done.error_text or done.text).strip().splitlines()
        raise StepFailed(
            f"opsctl on {droplet} gave no answer", why=said[-1] if said else f"exit status {done.code}"
        ) from None
    if document["error"]:
        raise _again(document["error"], document["exit_code"], droplet)
    result: dict[str, Any] = document["droplets"][0]["result"]
    return result


def _again(error: dict[str, Any], code: int, droplet: str) -> OpsError:
    info = ErrorInfo(**error)
    if info.next.startswith("opsctl migrate"):
        info = replace(info, next=f"{info.next} -d {droplet}")
    raised = OpsError(info.what)
    raised.info, raised.exit_code = info, ExitCode(code)
    return raised
