"""Training: the whole command on a few digits, resuming, and the training data."""

from __future__ import annotations

import os
import re
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from daemon.assets import SHIPPED_MODEL
from daemon.cli import main
from daemon.errors import DataError, ModelError
from daemon.reading import model
from daemon.training import (
    data,
    fonts,
    hands,
    learner,
    negatives,
    network,
    plots,
    pool,
    strokes,
    train,
)
from daemon.training.augment import Augmenter
from tests.harness import Terminal

# Keras 3.15 copies its variables in a way that numpy 2.4 warns about.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SMALL = Path(__file__).parent.parent / "data" / "mnist-small.npz"


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (learner, train):
        monkeypatch.setattr(module, "STEPS", 8)


def quietly(ended: list[learner.Epoch]) -> train.Progress:
    return train.Progress(
        making=lambda _: None, began=lambda _: None, stepped=lambda _: None, ended=ended.append
    )


def test_training_learns_resumes_and_records_its_settings(tmp_path: Path) -> None:
    epochs: list[learner.Epoch] = []
    settings = train.TrainSettings((SMALL,), epochs=1, scale=0.01)
    out = tmp_path / "new.keras"
    train.train(settings, out, tmp_path, quietly(epochs))
    assert [epoch.epoch for epoch in epochs] == [1]
    first = model.load(out)
    assert first.settings.training["data"] == ["mnist-small"]
    assert first.settings.training["epochs"] == 1

    longer = train.TrainSettings((SMALL,), epochs=2, scale=0.01)
    train.train(longer, out, tmp_path, quietly(epochs), resume=True)
    assert [epoch.epoch for epoch in epochs] == [1, 2]
    assert epochs[1].loss < epochs[0].loss < 3
    assert model.load(out).hash != first.hash


def test_train_command_writes_a_model_and_plots(tmp_path: Path) -> None:
    work = tmp_path / "runs"
    arguments = ["train", "--data", SMALL, "--work", work, "--epochs", 1, "--scale", 0.01]
    said = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert said.exit_code == 0, said.output
    assert "epoch 1: loss" in said.output
    assert model.load(work / "model.keras").settings.training["epochs"] == 1
    for name in ("curves", "confusion", "mistakes", "examples"):
        picture = cv2.imread(str(work / f"{name}.png"))
        assert picture is not None
        assert min(picture.shape[:2]) > 100


def test_model_is_compiled_again_from_its_weights(tmp_path: Path) -> None:
    old = tmp_path / "old.keras"
    with zipfile.ZipFile(SHIPPED_MODEL) as shipped, zipfile.ZipFile(old, "w") as copy:
        for name in set(shipped.namelist()) - {model.NETWORK_MEMBER}:
            copy.writestr(name, shipped.read(name))
    with pytest.raises(ModelError, match="--recompile"):
        model.load(old)
    out = tmp_path / "new.keras"
    arguments = ["train", "--data", SMALL, "--work", tmp_path, "--scale", 0.05]
    arguments += ["--recompile", old, "--out", out]
    said = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert said.exit_code == 0, said.output
    assert not (tmp_path / "curves.png").exists()
    compiled = model.load(out)
    assert compiled.settings.training == model.load(SHIPPED_MODEL).settings.training
    assert compiled.settings.scores["mnist_test_accuracy"] >= 0.97
    # 8 bits move a logit a little; the answers stay.
    glyphs = pool.as_it_is(data.load_test(SMALL)).glyphs
    exact = network.as_model(out).scores(list(glyphs))
    rough = compiled.scores(list(glyphs))
    assert (exact.argmax(axis=1) == rough.argmax(axis=1)).mean() >= 0.98
    assert np.abs(exact - rough).mean() < 0.01


def test_training_progress_bar_starts_empty_and_ends_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["train", "--data", SMALL, "--work", tmp_path, "--epochs", 1, "--scale", 0.01]
    with Terminal() as terminal, os.fdopen(os.dup(terminal.programs), "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        main([str(argument) for argument in arguments], standalone_mode=False)
        monkeypatch.undo()
    text = terminal.text
    shares = [int(share) for share in re.findall(r"training[^\r]*?(\d+)%", text)]
    assert shares[0] < 50
    assert shares[-1] == 100
    assert re.search(r"glyphs[^\r]*100%", text)


def test_single_epoch_is_visible_in_the_curves(tmp_path: Path) -> None:
    file = tmp_path / "curves.png"
    plots.curves([learner.Epoch(1, 0.9, 0.2, 0.95, None)], file)
    picture = cv2.imread(str(file))
    assert picture is not None
    blue = (picture == (0xC0, 0x65, 0x15)).all(axis=2).astype(np.uint8)
    # Each of the two panels has the point and the legend's line.
    assert cv2.connectedComponents(blue)[0] - 1 >= 4


def test_resume_without_a_checkpoint_is_an_error(tmp_path: Path) -> None:
    settings = train.TrainSettings((SMALL,), epochs=1, scale=0.01)
    with pytest.raises(DataError, match="cannot be resumed"):
        train.train(settings, tmp_path / "new.keras", tmp_path, quietly([]), resume=True)


def test_pool_has_every_group_and_is_cached(tmp_path: Path) -> None:
    sets = data.load([SMALL]).training
    told: list[float] = []
    made = pool.gather(sets, tmp_path, seed=0, scale=0.01, tell=told.append)
    assert {"mnist", "pencil", "strokes", "not a digit"} <= set(made.groups)
    assert made.glyphs.shape == (len(made.labels), 28, 28)
    assert set(made.labels[made.groups == "not a digit"]) == {pool.NOT_A_DIGIT}
    assert made.glyphs.any(axis=(1, 2)).all()
    assert told[-1] == 1
    told.clear()
    again = pool.gather(sets, tmp_path, seed=0, scale=0.01, tell=told.append)
    assert not told
    assert np.array_equal(made.glyphs, again.glyphs)


def test_validation_split_is_disjoint_and_reproducible(tmp_path: Path) -> None:
    sets = data.load([SMALL]).training
    made = pool.gather(sets, tmp_path, seed=0, scale=0.01, tell=lambda _: None)
    training, held = made.split(0.1, 0)
    assert len(held.labels) == round(0.1 * len(made.labels))
    assert len(training.labels) + len(held.labels) == len(made.labels)
    assert np.array_equal(made.split(0.1, 0)[1].glyphs, held.glyphs)


@pytest.mark.parametrize("digit", range(10))
def test_drawn_digits_stay_within_the_canvas(digit: int) -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        line = strokes.drawn(digit, rng)
        assert 20 < line.sum() < 600
        assert hands.redrawn(line, rng).max() > 30


def test_thinning_leaves_connected_one_pixel_lines() -> None:
    thick = np.zeros((1, 64, 64), np.uint8)
    cv2.circle(thick[0], (32, 32), 20, 255, 7)
    line = hands.thinned(thick > 0)[0]
    assert 60 < line.sum() < 180
    assert cv2.connectedComponents(line.astype(np.uint8))[0] == 2


def test_augmentation_moves_digits_only_a_little() -> None:
    digits = np.load(SMALL)["x_train"][:64]
    augment = Augmenter(np.random.default_rng(0))
    varied = augment(digits)
    assert varied.shape == digits.shape
    assert varied.dtype == np.uint8
    assert (varied != digits).any(axis=(1, 2)).all()
    assert 0.6 < varied.mean() / digits.mean() < 1.4
    same = Augmenter(np.random.default_rng(0))(digits)
    assert np.array_equal(varied, same)
    weak = Augmenter(np.random.default_rng(0), 0.3)(digits)
    assert np.abs(weak - 1.0 * digits).mean() < 0.7 * np.abs(varied - 1.0 * digits).mean()


def test_some_augmented_digits_have_a_gap() -> None:
    loops = np.zeros((200, 28, 28), np.uint8)
    for loop in loops:
        cv2.circle(loop, (14, 14), 8, 255, 2)
    varied = Augmenter(np.random.default_rng(0))(loops)
    # The paper has two components, outside and inside; a gap in the ring connects them into one.
    pieces = [
        cv2.connectedComponents((glyph < 60).astype(np.uint8), connectivity=4)[0] - 1
        for glyph in varied
    ]
    assert 5 <= pieces.count(1) <= 30


def test_negatives_are_not_empty() -> None:
    rng = np.random.default_rng(0)
    digits = list(np.load(SMALL)["x_train"][:3])
    for _ in range(20):
        assert negatives.scribble(rng).sum() > 30
        assert negatives.sign(rng).sum() > 20
        assert negatives.blot(rng).any()
        assert negatives.beside(digits[:2], rng).any(axis=0).sum() > 30


def test_held_out_fonts_are_not_used_for_training() -> None:
    assert not set(fonts.found()) & set(fonts.found(kept_apart=True))


def test_letters_that_look_like_digits_are_not_negatives() -> None:
    assert not set("OoDQlIi|ZzSsgqbB0123456789") & set(fonts.NO_DIGITS)
