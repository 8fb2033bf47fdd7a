"""all-MiniLM-L6-v2 on the CPU: a model folder, or fastembed's own download, run through ONNX.

fastembed finds and fetches the model; the runs are our own. Its batches are cut by count, which pads short texts to
the longest of 256 neighbours and takes 700 MiB: here they are sorted by length and bounded by tokens.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError, OpsError
from opsctl.stores.cpus import usable_cpus

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray
    from onnxruntime import InferenceSession  # type: ignore[import-untyped]
    from tokenizers import Encoding, Tokenizer

NAME = "sentence-transformers/all-MiniLM-L6-v2"
WIDTH = 384
MOST_TOKENS = 256  # what the model was trained for; a longer text is cut there
_HUB = "Qdrant/all-MiniLM-L6-v2-onnx"
_FILES = ("model.onnx", "tokenizer.json")
_BATCH = 32  # texts of one run
_PADDED = 256  # tokens of one run, padding included: what fits a core's cache is half as fast again as 1,024 of them
_TOKENIZED = 512  # texts that are tokenized at once
_CUT = 16_384  # characters: more than 256 tokens of any ordinary text
_QUANTIZED = (b"DynamicQuantizeLinear", b"QLinearMatMul", b"MatMulInteger", b"DequantizeLinear")


class MiniLM:
    """The model, loaded at first use. Safe to use from several threads; one call at a time takes all cores."""

    name = NAME
    width = WIDTH

    def __init__(self, folder: Path | None = None, *, threads: int | None = None) -> None:
        self._folder = folder
        self._threads = threads or usable_cpus()
        self._lock = threading.Lock()
        self._loaded: tuple[Tokenizer, InferenceSession] | None = None
        self._identity: dict[str, str] = {}
        self._truncated = 0

    def embed(self, texts: Sequence[str], cancel: Cancel) -> Sequence[bytes]:
        """One vector a text, of length 1, in order. Raises ConfigError without the model, Interrupted."""
        found: list[bytes] = []
        with self._lock:
            tokenizer, session = self._open()
            for start in range(0, len(texts), _TOKENIZED):
                found += self._some(tokenizer, session, texts[start : start + _TOKENIZED], cancel)
        return found

    def describe(self) -> Mapping[str, Any]:
        """Which model, and how many texts were longer than it reads. Raises ConfigError without the model."""
        with self._lock:
            self._open()
        return {
            "model": self.name,
            "width": self.width,
            **self._identity,
            "max_tokens": MOST_TOKENS,
            "truncated": self._truncated,
            "threads": self._threads,
        }

    def close(self) -> None:
        """Free the model; safe to call twice. It is loaded again when it is used again."""
        with self._lock:
            self._loaded = None

    def _some(
        self, tokenizer: Tokenizer, session: InferenceSession, texts: Sequence[str], cancel: Cancel
    ) -> list[bytes]:
        encoded = [self._encode(tokenizer, text) for text in texts]
        order = sorted(range(len(texts)), key=lambda each: len(encoded[each].ids))
        found: list[bytes] = [b""] * len(texts)

        def run(batch: Sequence[int]) -> None:
            cancel.check()
            for place, vector in zip(batch, _run(session, [encoded[each] for each in batch]), strict=True):
                found[place] = vector.tobytes()

        with ThreadPoolExecutor(self._threads, "embed") as pool:
            for _ in pool.map(run, _batches(order, encoded)):
                pass  # its exceptions are raised here, and the runs that have not begun do not
        return found

    def _encode(self, tokenizer: Tokenizer, text: str) -> Encoding:
        """The tokens of a text. Of a very long one no more is read than decides them."""
        text = text.encode("utf-8", "replace").decode()  # half a surrogate pair is no text to a tokenizer
        cut = _CUT
        while True:
            encoding = tokenizer.encode(text[:cut])
            if encoding.overflowing or cut >= len(text):
                self._truncated += bool(encoding.overflowing)
                return encoding
            cut *= 4

    def _open(self) -> tuple[Tokenizer, InferenceSession]:
        if self._loaded is None:
            folder = self._folder or downloaded()
            with ThreadPoolExecutor(1, "identify") as aside:
                asked = aside.submit(identify, folder / _FILES[0])
                loaded = _load(folder)
            identity = asked.result()
            if self._identity and self._identity != identity:
                raise ConfigError(
                    f"the model in {folder} is another one than before",
                    why="vectors of two models do not mix",
                    next="run the command again with the model that it was begun with",
                )
            self._loaded, self._identity = loaded, identity
        return self._loaded


def _batches(order: Sequence[int], encoded: Sequence[Encoding]) -> Iterator[list[int]]:
    """Neighbours in length, the longest last, so that the last one's width is that of its batch."""
    batch: list[int] = []
    for each in order:
        if batch and (len(batch) == _BATCH or (len(batch) + 1) * len(encoded[each].ids) > _PADDED):
            yield batch
            batch = []
        batch.append(each)
    if batch:
        yield batch


def _run(session: InferenceSession, encoded: Sequence[Encoding]) -> NDArray[float32]:
    """The mean of each text's token vectors, scaled to length 1."""
    import numpy

    longest = max(len(each.ids) for each in encoded)
    ids = numpy.zeros((len(encoded), longest), dtype=numpy.int64)
    mask = numpy.zeros_like(ids)
    for row, each in enumerate(encoded):
        ids[row, : len(each.ids)] = each.ids
        mask[row, : len(each.ids)] = 1
    given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": numpy.zeros_like(ids)}
    wanted = {each.name for each in session.get_inputs()}
    tokens: Any = session.run(None, {name: value for name, value in given.items() if name in wanted})[0]
    weights = mask[:, :, None].astype(numpy.float32)
    mean = (tokens * weights).sum(axis=1) / weights.sum(axis=1)
    result: NDArray[float32] = mean / numpy.maximum(numpy.linalg.norm(mean, axis=1, keepdims=True), 1e-12)
    return result.astype("<f4", copy=False)


def _load(folder: Path) -> tuple[Tokenizer, InferenceSession]:
    ort, tokenizers = _libraries()
    missing = [name for name in _FILES if not (folder / name).is_file()]
    if missing:
        raise ConfigError(
            f"{folder} is no model folder: it has no {' and no '.join(missing)}",
            why=f"expected {NAME} as ONNX with its tokenizer",
            next="--model FOLDER, or set OPSCTL_MODEL",
        )
    options = ort.SessionOptions()
    # A run on one core, as many at a time as there are cores. Were a run spread over the cores, they would wait for
    # each other after every layer, and for the slowest wherever a writer or a server has one of them for a while.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        session = ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - both libraries raise bare Exceptions and classes of their own
        raise ConfigError(
            f"the model in {folder} cannot be loaded", why=str(error).splitlines()[0][:200], next="--model FOLDER"
        ) from None
    tokenizer.no_padding()
    tokenizer.enable_truncation(MOST_TOKENS)
    _check_width(session, folder)
    return tokenizer, session


def _check_width(session: InferenceSession, folder: Path) -> None:
    width = session.get_outputs()[0].shape[-1]
    if width != WIDTH:
        raise ConfigError(
            f"the model in {folder} gives {width} numbers a text, not {WIDTH}",
            why=f"it is not {NAME}",
            next="--model FOLDER",
        )


def _libraries() -> tuple[Any, Any]:
    try:
        import onnxruntime
        import tokenizers
    except ImportError as error:
        raise ConfigError(
            "opsctl cannot embed texts here: the extra `embed` is not installed",
            why=f"there is no module {error.name}",
            next="pip install 'opsctl[embed]'",
            code="no-embedder",
        ) from None
    return onnxruntime, tokenizers


def identify(model: Path) -> dict[str, str]:
    """What tells this model's vectors from another's: `quantization` (int8, none) and `sha256` of its file."""
    state, quantized, tail = hashlib.sha256(), False, b""
    with model.open("rb") as file:
        while block := file.read(1 << 20):
            state.update(block)
            quantized = quantized or any(each in tail + block for each in _QUANTIZED)
            tail = block[-32:]
    return {"quantization": "int8" if quantized else "none", "sha256": state.hexdigest()}


def downloaded() -> Path:
    """The folder of fastembed's own download, which is kept in $FASTEMBED_CACHE_PATH, else ~/.cache/opsctl/models.

    Raises ConfigError without the extra, OpsError where it cannot be fetched.
    """
    _libraries()
    try:
        from fastembed.common.model_description import DenseModelDescription, ModelSource
        from fastembed.common.model_management import ModelManagement
    except ImportError:
        raise ConfigError(
            "opsctl cannot fetch a model here: fastembed is not installed", next="pip install 'opsctl[embed]'"
        ) from None
    given = os.environ.get("FASTEMBED_CACHE_PATH")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "opsctl" / "models"
    description = DenseModelDescription(
        model=NAME,
        sources=ModelSource(hf=_HUB),
        model_file=_FILES[0],
        description="",
        license="apache-2.0",
        size_in_GB=0.09,
        dim=WIDTH,
    )
    from loguru import logger

    said = list[str]()
    logger.remove()  # it would log each try to stderr, in a form of its own: the reason is told below
    heard = logger.add(said.append, level="ERROR", format="{message}")
    try:
        return Path(ModelManagement.download_model(description, cache_dir=given or str(cache), retries=1))
    except Exception as error:  # noqa: BLE001 - of three libraries' own classes
        raise OpsError(
            f"the model {NAME} cannot be fetched",
            why=" ".join((said[0] if said else str(error)).partition(" Falling back")[0].split())[:200],
            next="bring its folder (model.onnx, tokenizer.json) here, and give it: --model FOLDER",
            code="no-model",
        ) from None
    finally:
        logger.remove(heard)
