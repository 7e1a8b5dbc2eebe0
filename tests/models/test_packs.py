"""The packs that ship with the program: complete, small, disjoint; what is measured with them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import packs as making
from daemon.assets import REGRESSION_PACK, REPLAY_PACK
from daemon.models import packs, regression
from daemon.models.regression import Outcomes
from daemon.reading import line, reader
from daemon.records import DIGITS, Reads, is_number
from support.drawn import MNIST, shipped

LARGEST = 4_000_000  # bytes, both packs together


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the outcomes of the shipped model."""
    folder = tmp_path_factory.mktemp("models")
    steps: list[int] = []
    regression.measure(shipped(), steps.append, folder)
    assert sum(steps) == regression.count_cases()
    assert len(steps) > 10, "progress is reported meanwhile"
    return folder


@pytest.fixture(scope="module")
def outcomes(kept: Path) -> Outcomes:
    steps: list[int] = []
    found = regression.measure(shipped(), steps.append, kept)
    assert steps == [regression.count_cases()], "the second time nothing is read"
    return found


def of_group(group: str) -> np.ndarray:
    return np.array([case.group == group for case in packs.load_regression().cases])


def test_both_packs_are_small_and_name_their_licences() -> None:
    assert REGRESSION_PACK.stat().st_size + REPLAY_PACK.stat().st_size <= LARGEST
    for sources in (packs.load_regression().sources, packs.load_replay().sources):
        assert "MIT" in sources
        assert "CC BY 4.0" in sources
        assert "MNIST" not in sources


def test_the_regression_pack_has_every_digit_numbers_and_other_things() -> None:
    cases = packs.load_regression().cases
    digits = [case.text for case in cases if case.group == packs.DIGITS]
    assert 2000 <= len(digits) <= 3000
    assert min(digits.count(str(digit)) for digit in range(DIGITS)) >= len(digits) / 20
    numbers = [case for case in cases if case.group == packs.NUMBERS]
    assert len(numbers) >= 400
    assert all(is_number(case.text) and case.reads is Reads.NUMBER for case in numbers)
    assert {len(case.text) for case in numbers} == set(range(1, 7))
    others = [case for case in cases if case.group == packs.NOT_A_DIGIT]
    assert {case.text for case in others} == {""}
    assert len({case.image for case in others}) >= 500
    assert {case.reads for case in others} == set(Reads)


def test_the_replay_pack_has_every_digit_other_things_and_strips() -> None:
    replay = packs.load_replay()
    counts = np.bincount(replay.labels, minlength=DIGITS + 1)
    assert len(replay.labels) >= 4000
    assert counts.min() >= len(replay.labels) / 20
    assert replay.glyphs.any(axis=(1, 2)).all()
    assert len(replay.counts) == len(replay.glyphs) == len(replay.labels)
    assert np.allclose(replay.counts.sum(axis=1), 1, atol=0.02)
    strips = list(replay.strips())
    assert len(strips) == len(replay.left_out) >= 1000
    assert all(strip.shape == (line.HEIGHT, len(strip[0])) for strip, _ in strips)
    assert {width % line.ROUND for width in replay.widths} == {0}
    written = {symbol for _, symbols in strips for symbol in symbols}
    assert written == set(range(line.OTHER + 1)), "each digit, each mark and other things"


def test_nothing_is_in_both_packs_nor_twice_nor_of_mnist() -> None:
    cases = packs.load_regression().cases
    images = {case.image for case in cases}
    assert len(images) == len({(case.group, case.image) for case in cases})
    replayed = {glyph.tobytes() for glyph in packs.load_replay().glyphs}
    # The reader makes the same glyph of the same picture.
    digits = [case for case in cases if case.group == packs.DIGITS]
    seen = {_see(case.image) for case in digits}
    assert len(seen) > 0.99 * len(digits)
    assert not seen & replayed
    fixture = {_see_pixels(image) for image in MNIST["x_test"]}
    assert not fixture & (seen | replayed)


def _see(image: bytes) -> bytes:
    return reader.find_digit(shipped(), image, max_megapixels=1).detection.glyph.tobytes()


def _see_pixels(ink: np.ndarray) -> bytes:
    return _see(making.encode(np.repeat(np.pad(ink, 3)[..., None], 3, axis=2)))


def test_what_training_uses_is_not_held_out_even_if_a_picture_is_twice(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    for name in making.SETS:
        images = rng.integers(0, 256, (100, 8, 8), np.uint8)
        images[97] = images[5]  # held out, and equal to one that is trained on
        images[98] = images[99]  # both held out
        np.savez(tmp_path / f"{name}.npz", images=images, labels=np.arange(100) % 10)
    training, held = making.split(tmp_path)
    assert {len(drawings.images) for drawings in training} == {96}
    assert {len(drawings.images) for drawings in held} == {2}
    used = {image.tobytes() for drawings in training for image in drawings.images}
    assert not used & {image.tobytes() for drawings in held for image in drawings.images}


def test_the_shipped_model_reads_most_of_the_regression_pack(outcomes: Outcomes) -> None:
    assert outcomes.is_read.all()
    assert outcomes.right[of_group(packs.DIGITS)].mean() > 0.9
    assert outcomes.right[of_group(packs.NUMBERS)].mean() > 0.6
    assert outcomes.right[of_group(packs.NOT_A_DIGIT)].mean() > 0.95


def test_a_model_is_not_worse_than_itself(outcomes: Outcomes) -> None:
    for one in regression.compare_outcomes(outcomes, outcomes):
        assert (one.better, one.worse) == (0, 0)
        assert one.right_before == one.right_after
        assert not one.is_worse


@pytest.mark.parametrize("group", packs.GROUPS)
def test_a_loss_in_one_group_shows_there_alone(group: str, outcomes: Outcomes) -> None:
    lost = np.flatnonzero(outcomes.right & of_group(group))[:9]
    worse = replace(outcomes, right=outcomes.right.copy())
    worse.right[lost] = False
    compared = regression.compare_outcomes(outcomes, worse)
    assert [one.name for one in compared] == list(packs.GROUPS)
    for one in compared:
        assert one.worse == (9 if one.name == group else 0)
        assert one.is_worse == (one.name == group)


def test_a_model_without_a_line_reader_is_compared_on_digits(outcomes: Outcomes) -> None:
    digits = np.array([case.reads is Reads.DIGIT for case in packs.load_regression().cases])
    without = replace(outcomes, right=outcomes.right & digits, is_read=digits)
    compared = regression.compare_outcomes(outcomes, without)
    assert [one.name for one in compared] == [packs.DIGITS, packs.NOT_A_DIGIT]
    assert [one.worse for one in compared] == [0, 0]


@pytest.mark.parametrize("damage", ["torn", "other digitd", "other pack", "short"])
def test_kept_outcomes_that_do_not_fit_are_not_used(
    damage: str, kept: Path, outcomes: Outcomes, tmp_path: Path
) -> None:
    (source,) = kept.iterdir()
    stored = json.loads(source.read_bytes())
    if damage == "other digitd":
        stored["digitd"] = "0.0.0"
    elif damage == "other pack":
        stored["pack"] = "0" * 12
    elif damage == "short":
        stored["right"] = stored["right"][1:]
    text = json.dumps(stored)
    (tmp_path / source.name).write_text(text[: len(text) // 2] if damage == "torn" else text)
    assert regression.load_outcomes(tmp_path, outcomes.model) is None
    assert regression.load_outcomes(kept, outcomes.model) is not None
