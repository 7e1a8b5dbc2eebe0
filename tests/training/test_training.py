"""Training: the whole command on a few digits, resuming, and the training data."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from multiprocessing import resource_tracker
from pathlib import Path

import cv2
import numpy as np
import pytest

from daemon.assets import SHIPPED_MODEL
from daemon.cli import main
from daemon.errors import DataError
from daemon.models import packs
from daemon.reading import line, model
from daemon.reading.eye import Count
from daemon.training import (
    data,
    eye_batches,
    glyph_batches,
    ink_sources,
    line_writing,
    pens,
    processes,
    report,
    strips,
    train,
)
from daemon.training.glyph_batches import Augmenter
from daemon.training.learner import Epoch, Learner
from support.daemon import DIGITD, ROOT, Terminal
from support.small_pack import use_small_pack
from support.waiting import until

# Keras 3.15 copies its variables in a way that numpy 2.4 warns about.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.timeout(600),  # two trainings and their processes take a minute on two idle cores
]

SMALL = Path(__file__).parent.parent / "data" / "mnist-small.npz"


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch)


def shorten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "CLASSIFIER", replace(train.CLASSIFIER, steps=8))
    monkeypatch.setattr(train, "EYE", replace(train.EYE, steps=4))
    monkeypatch.setattr(train, "HELD_CONTENTS", ("digit", "tile"))
    monkeypatch.setattr(train, "LINE", replace(train.LINE, steps=4))
    monkeypatch.setattr(train, "EXAMPLES", 50)
    monkeypatch.setattr(eye_batches, "UNIT", 128)
    monkeypatch.setattr(strips, "UNIT", 64)


@dataclass(frozen=True)
class Run:
    """A training by the command: its folder, and what it wrote to stdout and to the terminal."""

    folder: Path
    output: str
    terminal: str


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("runs")
    arguments = ["train", "--data", SMALL, "--work", folder, "--scale", 0.02]
    for network in ("--eye-epochs", "--epochs", "--line-epochs"):
        arguments += [network, 1]
    output = io.StringIO()
    # It would keep the terminal open, as the stderr of the first process that needs it.
    resource_tracker.ensure_running()
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        Terminal() as terminal,
        os.fdopen(os.dup(terminal.programs), "w") as stderr,
    ):
        shorten(monkeypatch)
        monkeypatch.setattr(sys, "stderr", stderr)
        use_small_pack(monkeypatch, folder)
        with redirect_stdout(output):
            main([str(argument) for argument in arguments], standalone_mode=False)
    packs.load_regression.cache_clear()
    return Run(folder, output.getvalue(), terminal.text)


def call(on_epoch: Callable[[Epoch], None]) -> train.TrainCallbacks:
    return train.TrainCallbacks(
        on_stage=lambda *_: None, on_progress=lambda _: None, on_epoch=on_epoch
    )


def settings(epochs: int = 1, eye_epochs: int = 1) -> train.TrainSettings:
    return train.TrainSettings(
        (SMALL,), eye_epochs=eye_epochs, epochs=epochs, line_epochs=1, scale=0.02
    )


def test_train_command_writes_a_model_and_plots(trained: Run) -> None:
    assert trained.output.startswith("epochs of the eye: 1, of the classifier: 1, of the line")
    assert "this takes about 3 min" in trained.output
    for network in ("eye", "classifier", "line"):
        assert f"{network}, epoch 1: loss" in trained.output
    written = model.load(trained.folder / "model.keras")
    assert written.settings.training["data"] == ["mnist-small"]
    assert written.settings.training["line_epochs"] == 1
    for name in ("curves", "confusion", "mistakes", "examples"):
        picture = cv2.imread(str(trained.folder / f"{name}.png"))
        assert picture is not None
        assert min(picture.shape[:2]) > 100


def test_training_says_that_its_model_is_worse_than_the_one_in_use(trained: Run) -> None:
    last = trained.output.splitlines()[-1]
    assert last.startswith(f"{trained.folder / 'model.keras'} is worse on digits ")
    assert f" than the shipped model, {model.load(SHIPPED_MODEL).hash}: don't use it" in last


def test_training_progress_bar_starts_empty_and_ends_full(trained: Run) -> None:
    for stage in ("eye", "glyphs", "classifier", "inks", "line", "comparing"):
        shares = [int(share) for share in re.findall(rf"{stage}  [^\r]*?(\d+)%", trained.terminal)]
        assert shares[0] < 50
        assert shares[-1] == 100


def test_finished_training_continues_with_more_epochs(trained: Run, tmp_path: Path) -> None:
    shutil.copytree(trained.folder, tmp_path, dirs_exist_ok=True)
    out = tmp_path / "model.keras"
    before = model.load(out).hash
    epochs: list[Epoch] = []
    # The epochs of the eye and of the line reader are done, so only the classifier goes on.
    train.train(settings(epochs=2), out, tmp_path, call(epochs.append), resume=True)
    assert [(epoch.network, epoch.epoch) for epoch in epochs] == [("classifier", 2)]
    assert epochs[0].loss < 3
    assert model.load(out).hash != before


def test_interrupted_training_of_the_eye_is_resumed(tmp_path: Path) -> None:
    epochs: list[Epoch] = []

    def stop(epoch: Epoch) -> None:
        epochs.append(epoch)
        raise KeyboardInterrupt

    for resume in (False, True):
        with pytest.raises(KeyboardInterrupt):
            train.train(
                settings(eye_epochs=2), tmp_path / "new.keras", tmp_path, call(stop), resume=resume
            )
    assert [(epoch.network, epoch.epoch) for epoch in epochs] == [("eye", 1), ("eye", 2)]


def test_line_reader_learns_a_few_strips_by_heart(trained: Run) -> None:
    pool = strips.load_pool(next(trained.folder.glob("inks-*.npz")))
    batches = strips.compose_unit(pool, seed=0, number=0)[:1]
    plan = replace(train.LINE, steps=60)
    learner = Learner(plan, 1, 0, trained.folder)
    losses = [learner.step(*batches[0]) for _ in range(plan.steps)]
    assert losses[-1] < 0.5 * losses[2]


def test_each_unit_of_strips_is_repeatable_and_differs_from_the_next(trained: Run) -> None:
    pool = strips.load_pool(next(trained.folder.glob("inks-*.npz")))
    first, again, following = (strips.compose_unit(pool, 3, number) for number in (0, 0, 1))
    assert [batch.pixels.tobytes() for batch in first] == [b.pixels.tobytes() for b in again]
    assert [batch.pixels.tobytes() for batch in first] != [b.pixels.tobytes() for b in following]
    for pixels, texts in first:
        assert pixels.shape[1:3] == (line.HEIGHT, pixels.shape[2])
        assert pixels.shape[2] % line.ROUND == 0
        assert texts.min() >= -1
        assert texts.max() <= line.OTHER
        # CTC needs a step for each symbol, and one between two that are the same.
        repeats = (texts[:, 1:] == texts[:, :-1]) & (texts[:, 1:] >= 0)
        needed = (texts >= 0).sum(axis=1) + repeats.sum(axis=1)
        assert needed.max() <= pixels.shape[2] // line.STEP


def test_numbers_are_written_into_boxes_too(trained: Run) -> None:
    composer = strips.Composer(strips.load_pool(next(trained.folder.glob("inks-*.npz"))))
    written = [composer.write(np.random.default_rng(seed)) for seed in range(200)]
    boxed = [each for each in written if each.sides is not None]
    assert 5 < len(boxed) < 60
    for ink, symbols, sides in boxed:
        assert sides is not None
        if line.OTHER not in symbols:  # several of these may be one symbol
            assert len(sides) == len(symbols) + 1
        middles = (sides[:-1] + sides[1:]) / 2
        inked = np.flatnonzero((ink > 60).any(axis=0))
        reach = 32 + 0.3 * np.diff(sides)[0]  # half of the widest ink, and how far it may be off
        assert np.abs(inked[:, None] - middles).min(axis=1).max() < reach


def test_what_is_left_of_boxes_hides_no_ink() -> None:
    ink = np.zeros((88, 200), np.uint8)
    ink[30:60, 90:110] = 255
    sides = np.array((40.0, 160.0))
    rng = np.random.default_rng(0)
    left = [line_writing.leave_sides(ink, sides, rng) for _ in range(40)]
    assert all((each >= ink).all() for each in left)
    columns = [np.flatnonzero((each > ink).any(axis=0)) for each in left]
    assert any(each.size for each in columns)
    near = [np.abs(each[:, None] - sides).min(axis=1).max() for each in columns if each.size]
    assert max(near) < 16  # a corner is at most 0.3 of a digit's 40 px


def test_inks_are_distorted_where_that_is_asked_for(trained: Run) -> None:
    pool = strips.load_pool(next(trained.folder.glob("inks-*.npz")))
    plain, distorts = strips.Composer(pool), strips.Composer(pool, distorts=True)
    for seed in range(20):
        ink, symbols, _ = plain.write(np.random.default_rng(seed))
        other, same, _ = distorts.write(np.random.default_rng(seed))
        assert same == symbols
        assert other.tobytes() != ink.tobytes()
        assert 0.4 < np.count_nonzero(other) / np.count_nonzero(ink) < 2.5


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("raise ModuleNotFoundError('None.', name='tensorflow')", "tensorflow is not installed"),
        ("raise ImportError('no libtf.so')", "tensorflow cannot be imported (no libtf.so)"),
    ],
)
@pytest.mark.parametrize("command", [("train", "--data", SMALL), ("evaluate", SMALL, "--keras")])
def test_without_tensorflow_one_message_names_the_remedy(
    tmp_path: Path, command: tuple[str | Path, ...], code: str, says: str
) -> None:
    package = tmp_path / "tensorflow"
    package.mkdir()
    (package / "__init__.py").write_text(code)
    work = ("--work", tmp_path / "runs") if command[0] == "train" else ()
    refused = subprocess.run(
        [*DIGITD, *command, *work],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 1
    assert not refused.stdout
    (line,) = refused.stderr.splitlines()
    assert says in line
    assert "pip install 'digitd[train]', or in a clone -e '.[train]'" in line
    assert not (tmp_path / "runs").exists()


def test_single_epoch_is_visible_in_the_curves(tmp_path: Path) -> None:
    file = tmp_path / "curves.png"
    history = [Epoch("eye", 1, 0.9, 0.2, 0.95, 0.8), Epoch("classifier", 1, 1, 1, 0.9)]
    report.draw_curves(history, file)
    picture = cv2.imread(str(file))
    assert picture is not None
    blue = (picture == (0xC0, 0x65, 0x15)).all(axis=2).astype(np.uint8)
    # Each of the four panels has the point and the legend's line.
    assert cv2.connectedComponents(blue)[0] - 1 >= 8


def test_resume_without_a_checkpoint_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be resumed"):
        train.train(settings(), tmp_path / "new.keras", tmp_path, call(lambda _: None), resume=True)


def test_glyph_cache_has_every_group_and_is_cached(tmp_path: Path) -> None:
    work = ink_sources.plan(data.load([SMALL]).training, seed=0, scale=0.01)
    look = zipfile.ZipFile(SHIPPED_MODEL).read(model.EYE_MEMBER)
    told: list[int] = []
    made = glyph_batches.gather(work, look, tmp_path, told.append)
    assert sum(told) == len(work)
    assert {"mnist", "paper", "pencil", "strokes", "not a digit", "marked"} <= set(made.groups)
    assert made.glyphs.shape == (len(made.labels), 28, 28)
    for group in ("not a digit", "marked"):
        assert set(made.labels[made.groups == group]) == {ink_sources.NOT_A_DIGIT}
    assert made.glyphs.any(axis=(1, 2)).all()
    told.clear()
    (cached,) = tmp_path.iterdir()
    stamp = cached.stat().st_mtime_ns
    again = glyph_batches.gather(work, look, tmp_path, told.append)
    assert sum(told) == len(work)
    assert cached.stat().st_mtime_ns == stamp
    assert np.array_equal(made.glyphs, again.glyphs)


def test_validation_data_are_the_last_images_of_each_set() -> None:
    sets = data.load([SMALL]).training
    (training,), (held,) = data.hold_out(sets, 0.1)
    whole = sets[0].images
    assert len(held.labels) == round(0.1 * len(whole))
    assert np.array_equal(np.concatenate((training.images, held.images)), whole)


def test_each_unit_of_views_is_repeatable_and_differs_from_the_next() -> None:
    sets = data.load([SMALL]).training
    first, again, second = (eye_batches.compose_unit(sets, 0, number) for number in (0, 0, 1))
    assert np.array_equal(first.pixels, again.pixels)
    assert np.array_equal(first.ink, again.ink)
    assert not np.array_equal(first.pixels, second.pixels)
    assert first.pixels.shape == (128, 96, 96, 3)
    assert set(first.counts) == {eye_batches.UNCOUNTED, *Count}
    # A page without writing has no ink; a page with one digit or more has.
    has_ink = np.array([(ink > 127).any() for ink in first.ink])
    assert has_ink[first.counts > 0].all()
    assert 0 < has_ink[first.counts == 0].sum() < (first.counts == 0).sum()


def test_stream_gives_the_same_views_as_its_units() -> None:
    sets = data.load([SMALL]).training
    with eye_batches.EyeStream(sets, 0, first=1) as stream:
        taken = eye_batches.concatenate([stream.take(100), stream.take(100)])
    expected = eye_batches.concatenate(
        [eye_batches.compose_unit(sets, 0, 1), eye_batches.compose_unit(sets, 0, 2)]
    )
    assert np.array_equal(taken.pixels, expected.pixels[:200])


@pytest.mark.parametrize("digit", range(10))
def test_drawn_digits_stay_within_the_canvas(digit: int) -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        line = pens.draw_digit(digit, rng)
        assert 20 < line.sum() < 600
        assert pens.redraw(line, rng).max() > 30


@pytest.mark.parametrize("digit", range(10))
def test_pencil_line_has_no_gaps_on_any_canvas(digit: int) -> None:
    rng = np.random.default_rng(0)
    sides = set()
    for _ in range(40):
        line = pens.draw_digit(digit, rng)
        drawn = pens.draw_with_pencil(line, rng)
        parts, drawn_parts = (
            cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0]
            for mask in (line, drawn > 0)
        )
        assert drawn_parts <= parts
        sides.add(drawn.shape[0])
    assert min(sides) == 28
    assert max(sides) > 100


def test_thinning_leaves_connected_one_pixel_lines() -> None:
    thick = np.zeros((1, 64, 64), np.uint8)
    cv2.circle(thick[0], (32, 32), 20, 255, 7)
    line = pens.thin(thick > 0)[0]
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
        assert pens.draw_scribble(rng).sum() > 30
        assert pens.draw_sign(rng).sum() > 20
        assert ink_sources.place_side_by_side(digits[:2], rng).any(axis=0).sum() > 30


def test_held_out_fonts_are_not_used_for_training() -> None:
    assert not set(data.find_fonts()) & set(data.find_fonts(held_out=True))


def test_letters_that_look_like_digits_are_not_negatives() -> None:
    assert not set("OoDQlIi|ZzSsgqbB0123456789") & set(ink_sources.NO_DIGITS)


def test_sigterm_ends_training_and_its_processes(tmp_path: Path) -> None:
    command = [*DIGITD, "train", "--data", str(SMALL), "--work", str(tmp_path), "--scale", "0.02"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as training:
        composing = until_composing(training.pid)
        training.terminate()
        _, said = training.communicate(timeout=60)
    assert training.returncode == 1
    assert said.splitlines()[-1].endswith(
        "digitd: interrupted: the same command with --resume continues from the last checkpoint"
    )
    assert "Traceback" not in said
    until(lambda: not any(map(is_running, composing)), "the end of the processes")


def test_what_fails_while_an_interrupted_pool_is_closed_is_not_raised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def close(number: int | None) -> None:
        try:
            if number is not None:
                signal.raise_signal(number)
        finally:
            raise RuntimeError("cannot join thread before it is started")

    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), processes.interruptible():
        close(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
    with pytest.raises(RuntimeError, match="cannot join"), processes.interruptible():
        close(None)


def until_composing(pid: int) -> list[int]:
    """Wait until a training has processes that compose; return their ids."""
    found: list[int] = []

    def find() -> bool:
        tasks = Path(f"/proc/{pid}/task").glob("*/children")
        children = [int(child) for file in tasks for child in file.read_text().split()]
        found[:] = [child for child in children if "spawn_main" in command_line(child)]
        return bool(found)

    until(find, "composing processes", 120)
    return found


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8")
    except OSError:
        return ""


def is_running(pid: int) -> bool:
    return "spawn_main" in command_line(pid)
