"""The small model for tests: from $OPSCTL_TEST_MODEL, or beside the checkout; else a skip with the reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_BESIDE = Path(__file__).parents[3] / "shared" / "models" / "all-MiniLM-L6-v2"


def model_folder() -> Path:
    """The folder of all-MiniLM-L6-v2 as ONNX. Skips the test where there is none."""
    given = os.environ.get("OPSCTL_TEST_MODEL")
    folder = Path(given) if given else _BESIDE
    if not (folder / "model.onnx").is_file():
        pytest.skip(f"no embedding model: {folder} has no model.onnx; give one by OPSCTL_TEST_MODEL")
    return folder
