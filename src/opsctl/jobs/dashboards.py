"""Brings Grafana's dashboards here as files, each as Grafana's own API gives it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError, GateFailed, StepFailed
from opsctl.model.ports import Host
from opsctl.model.probing import Dashboard, Evidence, Exported
from opsctl.model.secret import Secret

_PAGE = 100
_MOST = 100  # pages
_BOUND = 20.0  # s


def export(
    host: Host,
    evidence: Evidence,
    address: tuple[str, int],
    to: Path,
    token: Secret,
    *,
    dry_run: bool = False,
    cancel: Cancel,
) -> Exported:
    """Every dashboard as DIR/<uid>.json; a file that says the same already stays untouched.

    `address` is Grafana's as the droplet sees it. Raises UnreachableError, ConfigError (the token is refused, or the
    folder cannot be written), StepFailed, GateFailed where there is no dashboard at all.
    """
    with host.forward(*address) as way:
        base = f"http://{way.host}:{way.port}"

        def get(path: str) -> Any:
            return evidence.json(base + path, token=token, cancel=cancel, timeout=_BOUND)

        found = _search(get)
        if not found:
            raise GateFailed(
                "Grafana shows no dashboard",
                why="there is none, or the token may not see them",
                next="opsctl dashboards export --to DIR --token-env NAME   (a token of a service account, role Viewer)",
            )
        done = [_one(get(f"/api/dashboards/uid/{quote(uid, safe='')}"), uid, to, dry_run) for uid in found]
    return Exported(str(to), tuple(done), dry_run)


def _search(get: Any) -> list[str]:
    uids: dict[str, None] = {}
    for page in range(1, _MOST + 1):
        found = get(f"/api/search?type=dash-db&limit={_PAGE}&page={page}")
        if not isinstance(found, list):
            raise StepFailed("Grafana did not answer with a list of dashboards", why=str(found)[:200])
        fresh = [str(each["uid"]) for each in found if each.get("uid") not in uids]
        uids.update(dict.fromkeys(fresh))
        if len(found) < _PAGE or not fresh:
            break
    return list(uids)


def _one(said: Any, uid: str, to: Path, dry_run: bool) -> Dashboard:
    try:
        model, meta = said["dashboard"], said.get("meta", {})
        title = str(model["title"])
    except (KeyError, TypeError):
        raise StepFailed(f"Grafana did not answer with dashboard {uid}", why=str(said)[:200]) from None
    path = to / f"{re.sub(r'[^A-Za-z0-9_-]', '_', uid)}.json"
    text = json.dumps({"dashboard": model, "meta": meta}, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    try:
        changed = not path.exists() or path.read_text() != text
        if changed and not dry_run:
            to.mkdir(parents=True, exist_ok=True)
            new = path.with_name(f".{path.name}.new")
            new.write_text(text)
            new.replace(path)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written", why=error.strerror or str(error), next="--to another folder"
        ) from None
    return Dashboard(uid, title, str(meta.get("folderTitle", "")), str(path), changed)
