"""The stubs without the client: what is imported, and that the client still works beside them."""

from __future__ import annotations

import subprocess
import sys

from tests.stores.weaviate_server import WeaviateServer, weaviate

__all__ = ["weaviate"]


def _python(code: str, *words: str) -> str:
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_client_is_not_imported_for_them() -> None:
    said = _python(
        "import sys; from opsctl.stores.weaviate_stubs import stub_class; made = stub_class(); "
        "from weaviate.proto.v1 import batch_pb2; "
        "print(made.__name__, batch_pb2.BatchObjectsRequest.DESCRIPTOR.full_name, "
        "'weaviate' in sys.modules, 'weaviate.client' in sys.modules)"
    )
    assert said.split() == ["WeaviateStub", "weaviate.v1.BatchObjectsRequest", "False", "False"]


def test_the_client_works_after_them_and_before_them(weaviate: WeaviateServer) -> None:
    host, _, port = weaviate.url.rpartition("/")[2].partition(":")
    connect = (
        "import weaviate; client = weaviate.connect_to_local(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])); "
        "print(client.is_ready(), client.collections.exists('Nothing')); client.close(); "
    )
    stubs = "from opsctl.stores.weaviate_stubs import stub_class; first = stub_class(); assert first is stub_class(); "
    for code in (stubs + connect, connect + stubs):
        assert _python("import sys; " + code, host, port, str(weaviate.grpc_port)).split() == ["True", "False"]
