"""Takes routes away from a reverse proxy (Caddy) and puts them back: checked before, reloaded, proved after."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from opsctl.jobs.call import STATE_DIR, Call, carry_out
from opsctl.jobs.containers import USE_SOCKET
from opsctl.jobs.proxy_caddyfile import routes, without
from opsctl.model.cancel import Cancel
from opsctl.model.errors import OpsError, PlanMoved, StepFailed, UsageError
from opsctl.model.events import Outcome
from opsctl.model.plan import Action, Plan, Step
from opsctl.model.ports import Script, Shell
from opsctl.model.proxy import Proxy, ProxyResult, Route
from opsctl.model.result import DropletResult
from opsctl.model.stack import Droplet
from opsctl.spine.batch import Batch, Handler

_BOUND = 120.0  # s; a restart of the proxy where it cannot be reloaded
_MOVED = 75
_FOLDER = f"{STATE_DIR}/proxy"

_READ = (
    USE_SOCKET
    + r"""
id=$(docker ps -aq --no-trunc --filter "label=com.docker.compose.service=$1" | head -n 1)
[ -n "$id" ] || { echo "no container of service $1 is there" >&2; exit 3; }
set -- "$id" "$2" $(docker inspect -f '{{range .Args}}{{println .}}{{end}}' "$id")
id=$1 folder=$2; shift 2
inside=/etc/caddy/Caddyfile
while [ $# -gt 1 ]; do case $1 in --config|-c) inside=$2 ;; esac; shift; done
file= single=false
while IFS=' ' read -r source target; do
    [ "$target" = "$inside" ] && file=$source single=true
    case $inside in "$target"/*) [ -n "$file" ] || file=$source${inside#"$target"} ;; esac
done <<< "$(docker inspect -f '{{range .Mounts}}{{.Source}} {{println .Destination}}{{end}}' "$id")"
[ -n "$file" ] || { echo "$inside is inside its image: it is not mounted from the droplet" >&2; exit 4; }
kept=$folder/${file//\//_}
[ -e "$kept" ] || kept=
printf '%s\n' "$id" "$(docker inspect -f '{{.State.Running}}' "$id")" "$file" "$inside" "$single" "$kept"
cat -- "$file"
"""
)
# stdin: the new text. The container, its file in there and here, where the first one is kept, the old one's digest,
# whether the file alone is mounted, whether the container runs, whether what was kept is let go.
_WRITE = (
    USE_SOCKET
    + rf"""
id=$1 inside=$2 file=$3 kept=$4 old=$5 single=$6 running=$7 letgo=$8
[ "$(sha256sum < "$file" | cut -d' ' -f1)" = "$old" ] || {{ echo "$file was changed meanwhile" >&2; exit {_MOVED}; }}
set -e
umask 077
mkdir -p -- "${{kept%/*}}"
work=$(mktemp -d "${{kept%/*}}/.new.XXXXXX")
trap 'rm -rf -- "$work"' EXIT
cat > "$work/new"
cp -p -- "$file" "$work/before"
say() {{ tail -n 3 "$work/said" | cut -c 1-400 >&2; }}
if [ "$running" = true ]; then
    docker exec -i "$id" caddy validate --config - --adapter caddyfile < "$work/new" > "$work/said" 2>&1 || {{
        echo "caddy does not take the new configuration:" >&2; say; exit 1; }}
fi
[ -e "$kept" ] || cp -p -- "$file" "$kept"
put() {{
    # In place where the file alone is mounted: a new file with its name would not be seen in the container.
    if [ "$single" = true ]; then cat -- "$1" > "$file"
    else cp -p -- "$file" "$file.opsctl" && cat -- "$1" > "$file.opsctl" && mv -f -- "$file.opsctl" "$file"; fi
}}
load() {{
    docker exec "$id" caddy reload --config "$inside" --adapter caddyfile > "$work/said" 2>&1 &&
        {{ how=reloaded; return; }}
    # Without its admin endpoint it can only be started again.
    docker restart -t 5 "$id" > "$work/said" 2>&1 && how=restarted
}}
put "$work/new"
how="not running"
if [ "$running" = true ]; then
    load && docker exec "$id" caddy adapt --config "$inside" --adapter caddyfile > "$work/adapted" 2> "$work/said" || {{
        echo "caddy did not load it; the configuration from before is back:" >&2
        say; put "$work/before"; load || true; exit 1; }}
fi
[ "$letgo" != true ] || rm -f -- "$kept"
echo "$how"
[ ! -e "$work/adapted" ] || cat -- "$work/adapted"
"""
)


@dataclass(frozen=True)
class WriteProxy(Action):
    """Write the proxy's configuration and let it take effect."""

    kind: ClassVar[str] = "proxy"
    file: str
    old: str  # digests
    new: str
    gone: tuple[str, ...]  # what no route may lead to any more
    restore: bool = False


def read(shell: Shell, droplet: Droplet, service: str, *, cancel: Cancel) -> Proxy:
    """The proxy as it is. Raises StepFailed where there is none, or where its file is not the droplet's."""
    done = shell.run(Script(_READ, (droplet.socket or "", service, _FOLDER)), cancel=cancel, timeout=30)
    if done.code != 0:
        why = done.error_text.splitlines()[-1] if done.error_text else f"exit {done.code}"
        raise StepFailed(
            f"{droplet.name} has no reverse proxy to look at", why=why, next=f"opsctl status -d {droplet.name}"
        )
    container, running, file, inside, single, kept, text = done.text.split("\n", 6)
    return Proxy(service, container, running == "true", file, inside, single == "true", kept, text)


def change(call: Call, service: str, names: Sequence[str], *, restore: bool) -> DropletResult[ProxyResult]:
    """Leave out every route to one of `names`, or put the first configuration back; neither: only look.

    Raises LeaseHeld, StepFailed, UsageError (nothing is kept to put back).
    """
    found = read(call.host, call.droplet, service, cancel=call.cancel)
    now = routes(found.text)
    result = ProxyResult(now, (), (), found.file, found.kept, call.dry_run)
    if restore:
        if not found.kept:
            raise UsageError(
                f"nothing is kept to put back on {call.droplet.name}",
                why="no route was taken away, or they are back already",
                next=f"opsctl proxy routes -d {call.droplet.name}",
            )
        text = call.host.get(found.kept, cancel=call.cancel, timeout=30).decode()
        result = replace(result, routes=routes(text), back=_more(routes(text), now))
    elif names:
        text, gone = without(found.text, names)
        result = replace(result, routes=routes(text), gone=gone)
    else:
        return DropletResult(call.droplet.name, result)
    plan = _plan(found, text, tuple(names), restore=restore)
    result = replace(result, plan=plan.to_json())
    if call.dry_run or not plan.steps:
        return DropletResult(call.droplet.name, result)
    handlers = {WriteProxy.kind: Handler(lambda batch: _write(batch, call, found, text))}
    run = carry_out(call, plan, handlers, changes=True)
    after = read(call.host, call.droplet, service, cancel=Cancel(30)) if run.error is None else found
    result = replace(result, run=run, kept=after.kept, routes=routes(after.text))
    return DropletResult(call.droplet.name, result, run.error, run.exit_code)


def _plan(found: Proxy, text: str, names: tuple[str, ...], *, restore: bool) -> Plan:
    before, after = _digest(found.text), _digest(text)
    if before == after and not restore:
        return Plan("proxy routes", ())
    title = "put the first configuration back" if restore else f"take away the routes to {', '.join(names)}"
    undo = WriteProxy(found.file, after, before, (), restore=not restore)
    step = Step("proxy", title, WriteProxy(found.file, before, after, names, restore), service=found.service, undo=undo)
    return Plan("proxy routes", (step,))


def _write(batch: Batch, call: Call, found: Proxy, text: str) -> None:
    (step,) = batch.steps
    action = step.action
    assert isinstance(action, WriteProxy)
    kept = found.kept or f"{_FOLDER}/{found.file.replace('/', '_')}"
    flags = ("true" if found.single else "false", "true" if found.running else "false")
    words = (call.droplet.socket or "", found.container, found.inside, found.file, kept, action.old, *flags)
    script = Script(_WRITE, (*words, "true" if action.restore else "false"), stdin=text.encode())
    done = batch.change(script, timeout=_BOUND)
    if done.code != 0:
        why = done.error_text or f"exit {done.code}"
        if done.code == _MOVED:
            raise PlanMoved("the proxy's configuration moved", why=why, next="run it again")
        raise StepFailed("the proxy's routes stay as they were", why=why, next=f"opsctl logs {found.service}")
    how, _, adapted = done.text.partition("\n")
    if left := _dials(adapted) & set(action.gone):
        error: OpsError = StepFailed(
            f"the proxy still leads to {', '.join(sorted(left))}",
            why="its adapted configuration says so",
            next="opsctl proxy routes --restore",
        )
        raise error
    batch.done(step, Outcome.CHANGED, how)


def _dials(adapted: str) -> set[str]:
    """The hosts that a configuration in Caddy's own JSON leads to."""
    found: set[str] = set()

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if isinstance(dial := value.get("dial"), str):
                found.add(dial.rpartition(":")[0])
            for each in value.values():
                walk(each)
        elif isinstance(value, list):
            for each in value:
                walk(each)

    walk(json.loads(adapted) if adapted.strip() else {})
    return found


def _more(wanted: tuple[Route, ...], there: tuple[Route, ...]) -> tuple[Route, ...]:
    known = {(each.matcher, each.upstreams) for each in there}
    return tuple(each for each in wanted if (each.matcher, each.upstreams) not in known)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
