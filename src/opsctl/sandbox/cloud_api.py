"""The provider's API, version 2, over the droplets of one sandbox: which request is answered how."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from opsctl.sandbox import fleet
from opsctl.sandbox.cloud_actions import Actions
from opsctl.sandbox.cloud_dns import Domains
from opsctl.sandbox.cloud_shapes import Refused, action_shape, droplet_id, droplet_shape, page, snapshot_shape
from opsctl.sandbox.cloud_sizes import SIZES, region_shape, size_shape
from opsctl.sandbox.cloud_state import State, now, stamp
from opsctl.sandbox.kinds import Spec

_LIMIT = 25


@dataclass(frozen=True)
class Request:
    """One request; `address` is its own without the query, for links to other pages."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Mapping[str, Any]
    address: str


Answer = tuple[int, Any]
"""Status, and what is sent as JSON; None for nothing."""
Route = Callable[..., Answer]


class Api:
    """Answers requests; raises Refused for what the API refuses."""

    def __init__(self, sandbox: str, state: State, say: Callable[[str], None]) -> None:
        self._sandbox, self._state = sandbox, state
        self._actions = Actions(sandbox, state, say)
        dns = Domains(state)
        routes: tuple[tuple[str, str, Route], ...] = (
            ("GET", "account", self._account),
            ("GET", "sizes", lambda r: (200, _page(r, "sizes", [size_shape(each) for each in SIZES.values()]))),
            ("GET", "regions", lambda r: (200, _page(r, "regions", [region_shape()]))),
            ("GET", "droplets", self._droplets),
            ("GET", r"droplets/(\d+)", self._droplet),
            ("GET", r"droplets/(\d+)/snapshots", self._droplet_snapshots),
            ("GET", r"droplets/(\d+)/actions", self._droplet_actions),
            ("POST", r"droplets/(\d+)/actions", self._act),
            ("GET", r"droplets/(\d+)/actions/(\d+)", self._droplet_action),
            ("GET", "actions", lambda r: (200, _page(r, "actions", state.actions[::-1]))),
            ("GET", r"actions/(\d+)", lambda r, number: (200, {"action": self._action(number)})),
            ("GET", "snapshots", self._snapshots),
            ("GET", r"snapshots/([\w-]+)", lambda r, number: (200, {"snapshot": self._snapshot(number)})),
            ("DELETE", r"snapshots/([\w-]+)", self._drop_snapshot),
            ("GET", "volumes", self._volumes),
            ("POST", "volumes", self._make_volume),
            ("GET", r"volumes/([\w-]+)", lambda r, volume: (200, {"volume": self._volume(volume)})),
            ("DELETE", r"volumes/([\w-]+)", self._drop_volume),
            ("POST", r"volumes/([\w-]+)/actions", self._attach),
            ("GET", r"volumes/([\w-]+)/snapshots", self._volume_snapshots),
            ("POST", r"volumes/([\w-]+)/snapshots", self._snapshot_volume),
            *dns.routes(),
        )
        self._routes = [(method, re.compile(f"/v2/{path}"), route) for method, path, route in routes]

    def answer(self, request: Request) -> Answer:
        """Find the route and take it. Raises Refused."""
        found = [
            (method, route, match)
            for method, pattern, route in self._routes
            if (match := pattern.fullmatch(request.path))
        ]
        for method, route, match in found:
            if method == request.method:
                return route(request, *match.groups())
        if found:
            raise Refused(405, f"{request.method} is not something this stand-in does here")
        raise Refused(404, "The resource you were accessing could not be found.")

    def _account(self, _: Request) -> Answer:
        account = {
            "droplet_limit": _LIMIT,
            "floating_ip_limit": 3,
            "reserved_ip_limit": 3,
            "volume_limit": 100,
            "email": "sandbox@example.com",
            "name": "opsctl sandbox",
            "uuid": uuid.uuid5(uuid.NAMESPACE_DNS, self._sandbox).hex,
            "email_verified": True,
            "status": "active",
            "status_message": "",
            "team": {"uuid": uuid.uuid5(uuid.NAMESPACE_DNS, "team").hex, "name": "My Team"},
        }
        return 200, {"account": account}

    def _droplets(self, request: Request) -> Answer:
        specs = fleet.get(self._sandbox).droplets
        if name := request.query.get("name"):
            specs = tuple(spec for spec in specs if spec.name == name)
        if tag := request.query.get("tag_name"):
            specs = tuple(spec for spec in specs if tag in self._rented(spec).get("tags", []))
        found = page("droplets", specs, request.query, request.address)
        found["droplets"] = [self._shape(spec) for spec in found["droplets"]]
        return 200, found

    def _droplet(self, _: Request, number: str) -> Answer:
        return 200, {"droplet": self._shape(self._spec(number))}

    def _spec(self, number: str) -> Spec:
        for spec in fleet.get(self._sandbox).droplets:
            if droplet_id(spec.name) == int(number):
                return spec
        raise Refused(404, "The resource you were accessing could not be found.")

    def _rented(self, spec: Spec) -> dict[str, Any]:
        if spec.name not in self._state.droplets:
            with self._state.change() as state:
                state.droplets[spec.name] = {"created_at": _made(spec), "tags": ["opsctl-sandbox"]}
        return self._state.droplets[spec.name]

    def _shape(self, spec: Spec) -> dict[str, Any]:
        number = droplet_id(spec.name)
        return droplet_shape(
            spec,
            self._rented(spec),
            on=self._actions.is_on(spec),
            locked=self._actions.locked(number),
            snapshots=[each["id"] for each in self._of("droplet", str(number))],
            volumes=[each["id"] for each in self._state.volumes if number in each["droplet_ids"]],
        )

    def _of(self, kind: str, resource: str) -> list[dict[str, Any]]:
        return [
            each for each in self._state.snapshots if each["resource_type"] == kind and each["resource_id"] == resource
        ]

    def _droplet_snapshots(self, request: Request, number: str) -> Answer:
        self._spec(number)
        shown = [
            {
                **{key: value for key, value in each.items() if key != "tags" and not key.startswith("resource_")},
                "id": int(each["id"]),
            }
            | {"type": "snapshot"}
            for each in self._of("droplet", number)
        ]
        return 200, _page(request, "snapshots", shown)

    def _act(self, request: Request, number: str) -> Answer:
        return 201, {"action": self._actions.begin(self._spec(number), request.body)}

    def _droplet_actions(self, request: Request, number: str) -> Answer:
        self._spec(number)
        own = [each for each in self._state.actions[::-1] if each["resource_id"] == int(number)]
        return 200, _page(request, "actions", own)

    def _droplet_action(self, _: Request, droplet: str, number: str) -> Answer:
        action = self._action(number)
        if action["resource_id"] != int(droplet):
            raise Refused(404, "The resource you were accessing could not be found.")
        return 200, {"action": action}

    def _action(self, number: str) -> dict[str, Any]:
        return _only(self._state.actions, int(number))

    def _snapshots(self, request: Request) -> Answer:
        kind = request.query.get("resource_type")
        found = [each for each in self._state.snapshots if kind in (None, each["resource_type"])]
        return 200, _page(request, "snapshots", found)

    def _snapshot(self, number: str) -> dict[str, Any]:
        return _only(self._state.snapshots, number)

    def _drop_snapshot(self, _: Request, number: str) -> Answer:
        gone = self._snapshot(number)
        if gone["resource_type"] == "droplet":
            self._actions.drop_snapshot(gone)
        with self._state.change() as state:
            state.snapshots.remove(gone)
        return 204, None

    def _volumes(self, request: Request) -> Answer:
        name = request.query.get("name")
        found = [each for each in self._state.volumes if name in (None, each["name"])]
        return 200, _page(request, "volumes", found)

    def _volume(self, number: str) -> dict[str, Any]:
        return _only(self._state.volumes, number)

    def _make_volume(self, request: Request) -> Answer:
        name, size = str(request.body.get("name", "")), request.body.get("size_gigabytes")
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,63}", name) or not isinstance(size, int) or size < 1:
            raise Refused(422, "a volume needs a name and size_gigabytes")
        volume = {
            "id": str(uuid.uuid4()),
            "name": name,
            "description": str(request.body.get("description", "")),
            "size_gigabytes": size,
            "created_at": now(),
            "droplet_ids": [],
            "region": region_shape(),
            "filesystem_type": str(request.body.get("filesystem_type", "")),
            "filesystem_label": str(request.body.get("filesystem_label", "")),
            "tags": list(request.body.get("tags") or []),
        }
        with self._state.change() as state:
            state.volumes.append(volume)
        return 201, {"volume": volume}

    def _drop_volume(self, _: Request, number: str) -> Answer:
        volume = self._volume(number)
        if volume["droplet_ids"]:
            raise Refused(409, "A volume that's attached to a Droplet cannot be deleted.")
        with self._state.change() as state:
            state.volumes.remove(volume)
        return 204, None

    def _attach(self, request: Request, number: str) -> Answer:
        volume, kind = self._volume(number), request.body.get("type")
        droplet = droplet_id(self._spec(str(request.body.get("droplet_id", 0))).name)
        if kind not in ("attach", "detach"):
            raise Refused(422, "a volume can be attached and detached here")
        with self._state.change() as state:
            volume["droplet_ids"] = [droplet] if kind == "attach" else []
            action = action_shape(state.number(), f"{kind}_volume", droplet, now(), of="backend")
            state.actions.append(action | {"status": "completed", "completed_at": now()})
        return 202, {"action": state.actions[-1]}

    def _volume_snapshots(self, request: Request, number: str) -> Answer:
        return 200, _page(request, "snapshots", self._of("volume", str(self._volume(number)["id"])))

    def _snapshot_volume(self, request: Request, number: str) -> Answer:
        volume, name = self._volume(number), str(request.body.get("name", ""))
        if not name:
            raise Refused(422, "Name can't be blank")
        least = int(volume["size_gigabytes"])
        made = snapshot_shape(
            str(uuid.uuid4()), name, "volume", str(volume["id"]), now(), least_disk=least, size=least * 2**30
        )
        with self._state.change() as state:
            state.snapshots.append(made | {"tags": list(request.body.get("tags") or [])})
        return 201, {"snapshot": made}


def _made(spec: Spec) -> str:
    """When the droplet was made: nothing in its folder is older, whatever was written there since."""
    times = [each.stat().st_mtime for each in spec.folder.iterdir()] if spec.folder.is_dir() else []
    return stamp(min(times)) if times else now()


def _page(request: Request, name: str, every: list[dict[str, Any]]) -> dict[str, Any]:
    return page(name, every, request.query, request.address)


def _only(every: list[dict[str, Any]], number: int | str) -> dict[str, Any]:
    for each in every:
        if each["id"] == number:
            return each
    raise Refused(404, "The resource you were accessing could not be found.")
