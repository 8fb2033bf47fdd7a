"""MiniLM over a real model folder, beside fastembed's own; and the errors of who has no model."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
from tests.stores.minilm import model_folder

from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError, Interrupted
from opsctl.stores.cpus import usable_cpus
from opsctl.stores.embedding import MiniLM, identify


@pytest.fixture(scope="module")
def model() -> MiniLM:
    return MiniLM(model_folder())


def vectors(model: MiniLM, *texts: str) -> list[numpy.ndarray]:
    return [numpy.frombuffer(each, "<f4") for each in model.embed(texts, Cancel())]


def test_what_means_the_same_is_near_and_order_is_kept(model: MiniLM) -> None:
    cat, database, kitten = vectors(model, "a cat sat on the mat", "restart the database " * 9, "a kitten on a rug")
    assert len(cat) == model.width
    assert cat @ kitten > 0.5 > cat @ database
    assert [round(float(each @ each), 4) for each in (cat, database, kitten)] == [1, 1, 1]


def test_it_gives_what_fastembed_gives(model: MiniLM) -> None:
    from fastembed import TextEmbedding

    texts = ["hello", "a much longer sentence about a droplet that runs out of memory", "ünïcödé 漢字 🙂"]
    theirs = TextEmbedding(model.name, specific_model_path=str(model_folder())).embed(texts, batch_size=1)
    for text, expected in zip(texts, theirs, strict=True):
        assert vectors(model, text)[0] @ expected > 0.9999


def test_texts_of_every_kind_get_a_vector(model: MiniLM) -> None:
    found = vectors(model, "", " \n\t", "\x00", "a\ud800b", "x" * 300_000, "漢" * 3000)
    assert all(numpy.isfinite(each).all() for each in found)


def test_a_long_text_counts_up_to_its_256th_token_and_that_is_said(model: MiniLM) -> None:
    before = model.describe()["truncated"]
    short, long = vectors(model, "word " * 254, "word " * 254 + "entirely different " * 5000)
    assert short @ long > 0.999
    assert model.describe()["truncated"] == before + 1


def test_the_receipt_tells_one_model_from_another(model: MiniLM) -> None:
    said = model.describe()
    assert (said["width"], said["quantization"]) == (384, "int8")
    assert said["sha256"] == identify(model_folder() / "model.onnx")["sha256"]


def test_a_stop_ends_it_between_batches(model: MiniLM) -> None:
    cancel = Cancel()
    cancel.cancel()
    with pytest.raises(Interrupted):
        model.embed(["text"] * 100, cancel)


def test_it_can_be_closed_and_used_again(model: MiniLM) -> None:
    first = vectors(model, "again")[0]
    model.close()
    model.close()
    assert (vectors(model, "again")[0] == first).all()


def test_a_folder_without_a_model_says_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"it has no model\.onnx") as caught:
        MiniLM(tmp_path).embed(["x"], Cancel())
    assert "OPSCTL_MODEL" in caught.value.info.next


def test_a_broken_model_is_an_error_with_the_library_s_words(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes((model_folder() / "tokenizer.json").read_bytes())
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ConfigError, match="cannot be loaded"):
        MiniLM(tmp_path).embed(["x"], Cancel())


def test_without_the_extra_it_says_how_to_install_it() -> None:
    code = (
        "import sys; sys.modules['onnxruntime'] = None\n"
        "from opsctl.model.cancel import Cancel\nfrom opsctl.model.errors import ConfigError\n"
        "from opsctl.stores.embedding import MiniLM\n"
        "try:\n    MiniLM().embed(['x'], Cancel())\nexcept ConfigError as e: print(e.info.next)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "pip install 'opsctl[embed]'"


@pytest.mark.parametrize(
    ("files", "line", "cores"),
    [
        ({"cpu.max": "100000 100000"}, "0::/", 1),
        ({"cpu.max": "max 100000", "a/cpu.max": "50000 100000"}, "0::/a/b", 1),
        ({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, "1:cpu:/docker/x", 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "1:cpu:/", None),
        ({}, "0::/", None),
    ],
)
def test_a_container_s_limit_counts(tmp_path: Path, files: dict[str, str], line: str, cores: int | None) -> None:
    for name, text in files.items():
        (tmp_path / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fs" / name).write_text(text + "\n")
    (tmp_path / "own").write_text(line + "\n")
    everything = usable_cpus(tmp_path / "none", tmp_path / "own")
    assert usable_cpus(tmp_path / "fs", tmp_path / "own") == (cores or everything)


def test_without_a_network_the_reason_is_told_and_nothing_is_logged(tmp_path: Path) -> None:
    program = (
        "from opsctl.model.errors import OpsError\n"
        "from opsctl.stores.embedding import downloaded\n"
        "try:\n    downloaded()\nexcept OpsError as error:\n    print(error.info.code, error.info.why)\n"
    )
    environment = {**os.environ, "FASTEMBED_CACHE_PATH": str(tmp_path), "HTTPS_PROXY": "http://127.0.0.1:1"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=120, check=True
    )
    assert done.stdout.startswith("no-model Could not download model")
    assert "Falling back" not in done.stdout
    assert "ERROR" not in done.stderr
