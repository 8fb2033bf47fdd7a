"""Domains and their records."""

from __future__ import annotations

from opsctl.cloud import shapes
from opsctl.cloud.answers import Lost
from opsctl.cloud.client import Client
from opsctl.model.cancel import Cancel
from opsctl.model.cloud import CloudRecord
from opsctl.model.errors import UsageError


class Names:
    """The DNS of an account."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def domains(self, *, cancel: Cancel) -> tuple[str, ...]:
        """All domains."""
        return tuple(str(each["name"]) for each in self._client.pages("/v2/domains", "domains", cancel=cancel))

    def records(self, domain: str, *, cancel: Cancel) -> tuple[CloudRecord, ...]:
        """All records of a domain."""
        every = self._client.pages(f"/v2/domains/{domain}/records", "domain_records", cancel=cancel)
        return tuple(shapes.record(each, domain) for each in every)

    def put(self, record: CloudRecord, *, cancel: Cancel) -> CloudRecord:
        """Create or change a record. A creation whose answer got lost is looked for, not repeated blindly."""
        path, body = f"/v2/domains/{record.domain}/records", shapes.record_body(record)
        if record.id:
            answer = self._client.request("PUT", f"{path}/{record.id}", body=body, cancel=cancel)
            return shapes.record(answer["domain_record"], record.domain)
        try:
            answer = self._client.request("POST", path, body=body, cancel=cancel)
            return shapes.record(answer["domain_record"], record.domain)
        except Lost as error:
            for each in self.records(record.domain, cancel=cancel):
                if shapes.record_body(each) == body:
                    return each
            raise error.final from None

    def delete(self, record: CloudRecord, *, cancel: Cancel) -> None:
        """Delete one."""
        try:
            self._client.request("DELETE", f"/v2/domains/{record.domain}/records/{record.id}", cancel=cancel)
        except UsageError as error:
            if error.info.code != "not-found":
                raise
