"""The gRPC stubs that Weaviate's client ships, without the client: importing all of it takes three times as long."""

from __future__ import annotations

import importlib.util
import sys
import threading
import warnings
from types import ModuleType
from typing import Any

_CLIENT = "weaviate"
_lock = threading.Lock()


def stub_class() -> Any:
    """`WeaviateStub`. From then on `from weaviate.proto.v1 import …` finds the messages, and imports nothing else.

    Whoever imports the client itself afterwards gets it, with these same stubs.
    """
    with _lock, warnings.catch_warnings(record=True):  # what its dependencies say of each other is not for our user
        found = None if _CLIENT in sys.modules else importlib.util.find_spec(_CLIENT)
        if found is not None and found.submodule_search_locations:
            package = ModuleType(_CLIENT)
            package.__path__ = list(found.submodule_search_locations)
            sys.modules[_CLIENT] = package
        try:
            from weaviate.proto.v1 import weaviate_pb2_grpc
        finally:
            if found is not None:
                sys.modules.pop(_CLIENT, None)
    return weaviate_pb2_grpc.WeaviateStub
