"""The provider's domains and their records: kept and shown, no name server answers for them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from opsctl.sandbox.cloud_shapes import Refused, page
from opsctl.sandbox.cloud_state import State

if TYPE_CHECKING:
    from opsctl.sandbox.cloud_api import Answer, Request, Route

_DOMAIN = r"domains/([\w.-]+)"
_RECORD = rf"{_DOMAIN}/records/(\d+)"
_TYPES = ("A", "AAAA", "CAA", "CNAME", "MX", "NS", "SOA", "SRV", "TXT")
_FIELDS = ("type", "name", "data", "priority", "port", "ttl", "weight", "flags", "tag")
_TTL = 1800
_LEAST_TTL = 30


class Domains:
    """The part of the API that is about names."""

    def __init__(self, state: State) -> None:
        self._state = state

    def routes(self) -> Sequence[tuple[str, str, Route]]:
        """Method, path below /v2/, and what answers."""
        return (
            ("GET", "domains", self._domains),
            ("POST", "domains", self._make_domain),
            ("GET", _DOMAIN, lambda r, name: (200, {"domain": self._shape(name)})),
            ("DELETE", _DOMAIN, self._drop_domain),
            ("GET", f"{_DOMAIN}/records", self._records),
            ("POST", f"{_DOMAIN}/records", self._make_record),
            ("GET", _RECORD, lambda r, name, number: (200, {"domain_record": self._record(name, number)})),
            ("PUT", _RECORD, self._change_record),
            ("PATCH", _RECORD, self._change_record),
            ("DELETE", _RECORD, self._drop_record),
        )

    def _domain(self, name: str) -> dict[str, Any]:
        if name not in self._state.domains:
            raise Refused(404, "The resource you were accessing could not be found.")
        return self._state.domains[name]

    def _shape(self, name: str) -> dict[str, Any]:
        ttl, records = self._domain(name)["ttl"], self._domain(name)["records"]
        lines = [f"{_full(each['name'], name)} {each['ttl']} IN {each['type']} {each['data']}" for each in records]
        zone = "\n".join([f"$ORIGIN {name}.", f"$TTL {ttl}", *lines])
        return {"name": name, "ttl": ttl, "zone_file": f"{zone}\n"}

    def _domains(self, request: Request) -> Answer:
        shown = [self._shape(name) for name in self._state.domains]
        return 200, page("domains", shown, request.query, request.address)

    def _make_domain(self, request: Request) -> Answer:
        name = str(request.body.get("name", ""))
        if not re.fullmatch(r"[\w-]+(\.[\w-]+)+", name):
            raise Refused(422, "Name is not a valid domain name")
        with self._state.change() as state:
            if name in state.domains:
                raise Refused(422, "Name already exists")
            state.domains[name] = {"ttl": _TTL, "records": []}
            for number in (1, 2, 3):
                self._add(name, {"type": "NS", "name": "@", "data": f"ns{number}.digitalocean.com"})
            if address := request.body.get("ip_address"):
                self._add(name, {"type": "A", "name": "@", "data": str(address)})
        return 201, {"domain": {"name": name, "ttl": _TTL, "zone_file": None}}

    def _drop_domain(self, _: Request, name: str) -> Answer:
        self._domain(name)
        with self._state.change() as state:
            del state.domains[name]
        return 204, None

    def _records(self, request: Request, name: str) -> Answer:
        kind, full = request.query.get("type"), request.query.get("name")
        found = [
            each
            for each in self._domain(name)["records"]
            if kind in (None, each["type"]) and full in (None, _full(each["name"], name).rstrip("."))
        ]
        return 200, page("domain_records", found, request.query, request.address)

    def _make_record(self, request: Request, name: str) -> Answer:
        self._domain(name)
        with self._state.change():
            return 201, {"domain_record": self._add(name, request.body)}

    def _add(self, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        record = {field: body.get(field) for field in _FIELDS}
        record["ttl"] = record["ttl"] or self._domain(name)["ttl"]
        _check(record)
        record = {"id": self._state.number(), **record}
        self._domain(name)["records"].append(record)
        return record

    def _record(self, name: str, number: str) -> dict[str, Any]:
        for each in self._domain(name)["records"]:
            if each["id"] == int(number):
                found: dict[str, Any] = each
                return found
        raise Refused(404, "The resource you were accessing could not be found.")

    def _change_record(self, request: Request, name: str, number: str) -> Answer:
        record = self._record(name, number)
        wanted = {**record, **{key: value for key, value in request.body.items() if key in _FIELDS}}
        _check(wanted)
        with self._state.change():
            record.update(wanted)
        return 200, {"domain_record": record}

    def _drop_record(self, _: Request, name: str, number: str) -> Answer:
        record = self._record(name, number)
        with self._state.change():
            self._domain(name)["records"].remove(record)
        return 204, None


def _check(record: Mapping[str, Any]) -> None:
    if record["type"] not in _TYPES:
        raise Refused(422, "Type is not a valid record type")
    if not record["name"] or not record["data"]:
        raise Refused(422, f"{'Name' if not record['name'] else 'Data'} can't be blank")
    if not isinstance(record["ttl"], int) or record["ttl"] < _LEAST_TTL:
        raise Refused(422, f"TTL must be greater than or equal to {_LEAST_TTL}")


def _full(name: str, domain: str) -> str:
    return f"{domain}." if name == "@" else f"{name}.{domain}."
