"""The model file: what is loaded, what is refused, and what the model returns."""

from __future__ import annotations

import io
import json
import random
import re
import subprocess
import sys
import zipfile
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from daemon.assets import KNOWN_DIGIT, KNOWN_DIGIT_PNG, SHIPPED_MODEL
from daemon.errors import ModelError
from daemon.reading import eye, model, reader
from daemon.reading.image import PREPROCESSING_VERSION, decode
from daemon.records import DIGITS, Pictures, ReadOptions, Reads

MNIST = np.load(Path(__file__).parent.parent / "data" / "mnist-small.npz")


@pytest.fixture(scope="module")
def shipped() -> model.Model:
    return model.load(SHIPPED_MODEL)


@pytest.fixture(scope="module")
def found(shipped: model.Model) -> list[eye.Detection]:
    return [eye.detect(shipped.segment, np.dstack([digit] * 3)) for digit in MNIST["x_test"]]


def altered(folder: Path, **changes: object) -> Path:
    """Return a copy of the shipped model with changed settings."""
    copy = folder / "other.keras"
    with zipfile.ZipFile(SHIPPED_MODEL) as old, zipfile.ZipFile(copy, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == model.SETTINGS_MEMBER:
                content = json.dumps(json.loads(content) | changes).encode()
            new.writestr(name, content)
    return copy


def without(folder: Path, member: str) -> Path:
    copy = folder / "other.keras"
    with zipfile.ZipFile(SHIPPED_MODEL) as old, zipfile.ZipFile(copy, "w") as new:
        for name in old.namelist():
            if name != member:
                new.writestr(name, old.read(name))
    return copy


def test_shipped_model_reads_mnist(shipped: model.Model, found: list[eye.Detection]) -> None:
    scores = shipped.scores(found)
    assert (scores.argmax(axis=1) == MNIST["y_test"]).mean() >= 0.98


def test_shipped_model_reads_the_known_digit_with_confidence(shipped: model.Model) -> None:
    known = decode(KNOWN_DIGIT_PNG.read_bytes(), max_megapixels=1)
    scores = shipped.scores([eye.detect(shipped.segment, known)])
    assert scores[0].argmax() == int(KNOWN_DIGIT)
    assert scores[0].max() > shipped.unsure_below


@pytest.mark.parametrize("count", [0, 1, 3, 9, 17, 65])
def test_scores_keep_the_order_for_any_number_of_images(
    shipped: model.Model, found: list[eye.Detection], count: int
) -> None:
    scores = shipped.scores(found[:count])
    assert scores.shape == (count, DIGITS + 1)
    assert scores.dtype == np.float32
    assert np.allclose(scores.sum(axis=1), 1, atol=1e-5)
    alone = [shipped.scores([one])[0] for one in found[:count:7]]
    assert np.allclose(scores[::7], np.array(alone).reshape(-1, DIGITS + 1), atol=1e-4)


def test_settings_are_loaded_from_the_model_file(shipped: model.Model) -> None:
    assert len(shipped.hash) == 12
    assert shipped.settings.preprocessing == PREPROCESSING_VERSION
    assert 0.5 <= shipped.unsure_below < 1
    assert "mnist" in shipped.settings.training["data"]
    assert shipped.settings.scores["held_accuracy"] > 0.9


def test_shipped_model_is_at_most_six_megabytes() -> None:
    assert SHIPPED_MODEL.stat().st_size < 6_000_000


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        (b"", "not a .keras file"),
        (b"\x89PNG not a model", "not a .keras file"),
    ],
    ids=["missing", "empty", "garbage"],
)
def test_file_that_is_not_a_model_is_refused(
    tmp_path: Path, content: bytes | None, says: str
) -> None:
    path = tmp_path / "mine.keras"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        model.load(path)
    assert str(path) in str(caught.value)
    assert says in str(caught.value)
    assert "digitd train" in str(caught.value)


def test_model_of_another_program_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="digitd model adopt"):
        model.load(without(tmp_path, model.SETTINGS_MEMBER))


@pytest.mark.parametrize("member", [model.EYE_MEMBER, model.NETWORK_MEMBER])
def test_model_without_a_network_is_refused(tmp_path: Path, member: str) -> None:
    with pytest.raises(ModelError, match=rf"no {re.escape(member)} inside.*digitd train"):
        model.load(without(tmp_path, member))


@pytest.mark.parametrize("member", [model.EYE_MEMBER, model.NETWORK_MEMBER])
def test_network_that_litert_cannot_load_is_refused(tmp_path: Path, member: str) -> None:
    copy = without(tmp_path, member)
    with zipfile.ZipFile(copy, "a") as archive:
        archive.writestr(member, b"no flatbuffer")
    with pytest.raises(ModelError, match="LiteRT cannot load it"):
        model.load(copy)


def test_networks_in_each_others_place_are_refused(tmp_path: Path) -> None:
    copy = without(tmp_path, model.EYE_MEMBER)
    with zipfile.ZipFile(copy, "a") as archive:
        archive.writestr(model.EYE_MEMBER, archive.read(model.NETWORK_MEMBER))
    with pytest.raises(ModelError, match="it maps"):
        model.load(copy)


def test_weights_are_not_needed_for_reading(tmp_path: Path, found: list[eye.Detection]) -> None:
    scores = model.load(without(tmp_path, "model.weights.h5")).scores(found)
    assert (scores.argmax(axis=1) == MNIST["y_test"]).mean() >= 0.98


def test_model_for_another_preprocessing_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"version {PREPROCESSING_VERSION + 1} of the reader"):
        model.load(altered(tmp_path, preprocessing=PREPROCESSING_VERSION + 1))


def test_model_without_a_line_reader_reads_digits_only(tmp_path: Path) -> None:
    path = without(tmp_path, model.LINE_MEMBER)
    with pytest.raises(ModelError, match=r"cannot read numbers, .*line\.tflite"):
        model.load(path).require_line()
    options = ReadOptions(path, 50, 64, pictures=Pictures.NONE)
    reader.Reader(options)
    with pytest.raises(ModelError, match="cannot read numbers"):
        reader.Reader(replace(options, reads=Reads.NUMBER))


def test_unknown_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"digitd\.json is broken"):
        model.load(altered(tmp_path, colour="red"))


@pytest.mark.parametrize("line", [3, {"margin": 1.0}, {"colour": "red"}])
def test_broken_calibration_of_numbers_is_refused(tmp_path: Path, line: object) -> None:
    with pytest.raises(ModelError, match=r"digitd\.json is broken"):
        model.load(altered(tmp_path, line=line))


def test_calibration_of_numbers_is_read_from_the_model_file(tmp_path: Path) -> None:
    stored = model.LineCalibration(2.0, 0.5, 1.5, -0.25, 1.0, unsure_below=0.75)
    assert model.load(altered(tmp_path, line=asdict(stored))).settings.line == stored


def test_threshold_is_read_from_the_model_file(tmp_path: Path) -> None:
    assert model.load(altered(tmp_path, unsure_below=0.75)).unsure_below == 0.75


def test_loading_prints_nothing() -> None:
    script = (
        "from daemon.reading import model; from daemon.assets import SHIPPED_MODEL; "
        "model.load(SHIPPED_MODEL).scores([])"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, timeout=60, check=True
    )
    assert run.stdout + run.stderr == b""


def header_bytes(data: bytes) -> list[int]:
    """Return the offsets of all bytes in the archive's headers."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        places = set(range(archive.start_dir, len(data)))
        for member in archive.infolist():
            places |= set(range(member.header_offset, member.header_offset + 30))
    return sorted(places)


def test_flipped_byte_in_the_model_is_a_model_error_or_harmless(
    tmp_path: Path,
) -> None:
    data = SHIPPED_MODEL.read_bytes()
    chance = random.Random(7)
    places = header_bytes(data) + [chance.randrange(len(data)) for _ in range(200)]
    file = tmp_path / "flipped.keras"
    refused = 0
    for place in places:
        flipped = bytearray(data)
        flipped[place] ^= 1 << chance.randrange(8)
        file.write_bytes(flipped)
        try:
            model.read_file(file)
        except ModelError:
            refused += 1
    assert refused > len(places) / 2
