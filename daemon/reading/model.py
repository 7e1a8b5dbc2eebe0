"""From 28x28 to calibrated probabilities; the only module that imports Keras."""

# Keras and TensorFlow have no type hints, and take seconds to import.
# ruff: noqa: ANN401, PLC0415

import hashlib
import io
import json
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon.errors import ModelError
from daemon.reading.glyph import GLYPH
from daemon.reading.image import PREPROCESSING_VERSION
from daemon.records import DIGITS

CLASSES = DIGITS + 1
"""The ten digits and, last, "not a digit"."""

SETTINGS_MEMBER = "digitd.json"
HASH_LENGTH = 12  # hex digits of the file's SHA-256: enough to tell one's models apart
# A forward pass is compiled for each size, and a batch is padded to the next one. 64 is the
# default batch (44 ms on one core), 1 a single file (1.5 ms); in a stream few files arrive at
# once. Each size takes 0.1 s at start and 3 MB.
BATCHES = (1, 4, 16, 64)


@dataclass(frozen=True, slots=True)
class Settings:
    """What is stored with the weights, as ``digitd.json`` inside the ``.keras`` file.

    Attributes:
        preprocessing: the version of the reader that made the training glyphs.
        temperature: logits are divided by it before the softmax (Guo et al. 2017).
        unsure_below: confidence under which a reading is ``unsure``.
        training: the settings and the data that it was trained with.
        scores: measured on validation data.
    """

    preprocessing: int = PREPROCESSING_VERSION
    temperature: float = 1.0
    unsure_below: float = 0.9
    training: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)


class Model:
    """A loaded network with its calibration.

    Attributes:
        hash: first 12 hex digits of the file's SHA-256.
        settings: what travelled with the weights.
        unsure_below: confidence under which a reading is ``unsure``.
    """

    def __init__(self, network: Any, settings: Settings, file_hash: str) -> None:
        self.hash = file_hash
        self.settings = settings
        self.unsure_below = settings.unsure_below
        self._forward = {size: _compiled(network, size) for size in BATCHES}

    def scores(self, glyphs: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Read glyphs.

        Args:
            glyphs: each (28, 28) uint8, white ink on black; none is fine.

        Returns:
            (N, 11) float32 calibrated probabilities, the last column "not a digit".
        """
        return softmax(self.logits(glyphs), self.settings.temperature)

    def logits(
        self, glyphs: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        """Return the network's own (N, 11) float32 answers, before calibration."""
        stack = np.zeros((len(glyphs), GLYPH, GLYPH), np.uint8)
        for index, glyph in enumerate(glyphs):
            stack[index] = glyph
        answers = np.zeros((len(stack), CLASSES), np.float32)
        largest = BATCHES[-1]
        for start in range(0, len(stack), largest):
            part = stack[start : start + largest]
            size = next(size for size in BATCHES if size >= len(part))
            filled = np.zeros((size, GLYPH, GLYPH), np.uint8)
            filled[: len(part)] = part
            answers[start : start + len(part)] = self._forward[size](filled)[: len(part)]
        return answers


def load(path: Path) -> Model:
    """Load a model for reading.

    Raises:
        ModelError: it is missing, no ``.keras`` file of ours, broken, or made for another
            version of the reader.
    """
    remedy = "Name a .keras file that `digitd train` made, or none for the shipped one"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}. {remedy}.") from error
    settings = _settings(path, data, remedy)
    loading = keras().saving.load_model
    try:
        # In safe mode and without compiling, no code in the file runs (CVE-2025-9905).
        network = loading(path, compile=False, safe_mode=True)
    # Keras passes on what its zip, JSON and HDF5 readers raise.
    except (ValueError, TypeError, KeyError, OSError, AttributeError) as error:
        raise ModelError(f"{path}: Keras cannot load it: {error}. {remedy}.") from error
    shapes = network.input_shape, network.output_shape
    if shapes != ((None, GLYPH, GLYPH, 1), (None, CLASSES)):
        raise ModelError(f"{path}: reads {shapes[0]} to {shapes[1]}, not a digit model. {remedy}.")
    return Model(network, settings, hashlib.sha256(data).hexdigest()[:HASH_LENGTH])


def softmax(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Turn (N, 11) logits into probabilities at a temperature."""
    scaled = (logits - logits.max(axis=1, keepdims=True)) / temperature
    odds = np.exp(scaled)
    return np.asarray(odds / odds.sum(axis=1, keepdims=True), np.float32)


def keras() -> Any:
    """Import Keras on TensorFlow without its start-up messages; takes seconds and 600 MB."""
    with _quiet():
        import keras as imported

        return imported


def tensorflow() -> Any:
    """Import TensorFlow without its start-up messages."""
    with _quiet():
        import tensorflow as tf

        return tf


def _settings(path: Path, data: bytes, remedy: str) -> Settings:
    """Return the settings in a model file, all of whose checksums are right."""
    try:
        stored = _settings_member(data)
    except KeyError as error:
        raise ModelError(
            f"{path}: has no {SETTINGS_MEMBER} inside, so `digitd train` did not make it. {remedy}."
        ) from error
    # What zipfile raises for each byte of a header that is flipped (all were tried).
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, OSError, ValueError) as error:
        raise ModelError(
            f"{path}: is not a .keras file, or is broken: {error}. {remedy}."
        ) from error
    try:
        settings = Settings(**json.loads(stored))
    except (ValueError, TypeError) as error:
        raise ModelError(f"{path}: its {SETTINGS_MEMBER} is broken: {error}. {remedy}.") from error
    if settings.preprocessing != PREPROCESSING_VERSION:
        raise ModelError(
            f"{path}: was made for version {settings.preprocessing} of the reader and this is "
            f"version {PREPROCESSING_VERSION}: it would misread. Train it again with this digitd."
        )
    return settings


def _settings_member(data: bytes) -> bytes:
    """Return the settings' bytes from a model file, once all its checksums are found right."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if damaged := archive.testzip():
            raise zipfile.BadZipFile(f"{damaged} is damaged")
        return archive.read(SETTINGS_MEMBER)


def _compiled(network: Any, size: int) -> Any:
    """Compile the forward pass for one batch size: `predict` is slow and leaks."""
    tf = tensorflow()

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[tf.TensorSpec((size, GLYPH, GLYPH), tf.uint8)],
        autograph=False,  # nothing to rewrite, and it leaves a file in /tmp for each worker
    )
    def forward(glyphs: Any) -> Any:
        scaled = tf.cast(glyphs[..., None], tf.float32) / 255.0
        return network(scaled, training=False)

    concrete = forward.get_concrete_function()
    return lambda glyphs: concrete(tf.constant(glyphs)).numpy()


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence TensorFlow's C++ start-up messages, which no setting does."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
