"""Train a model: eye, glyphs, classifier, line reader; then compile, calibrate and save it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon.errors import DataError
from daemon.reading import line, litert, model
from daemon.records import DIGITS, is_number
from daemon.text import count
from daemon.training import (
    data,
    eye_batches,
    eye_figures,
    glyph_batches,
    ink_sources,
    networks,
    shown_strips,
    strips,
)
from daemon.training.calibration import (
    NumberReadings,
    fit_calibration,
    fit_number_calibration,
    log_loss,
    share_right,
)
from daemon.training.glyph_batches import GlyphCache
from daemon.training.learner import Epoch, Learner, Plan, cool_down
from daemon.training.shown_strips import ShownStrips

HELD_OUT = 0.04  # share of each data set that is never trained on: its last images
FEWEST = 200  # images of all data sets together
# What the pages have on them that the eye is validated on, a unit of views each.
HELD_CONTENTS = tuple(eye_batches.CONTENTS)
HELD_STRIPS = 3  # units of strips that the line reader is validated on
SHOWN_UNITS, HELD_SHOWN = 80, 24  # units of pages that are shown to the eye
SHOWN_SHARE = 0.5  # of the batches during the cool-down
STRIP_INKS = 0.7  # times as many inks are drawn for strips as for glyphs
EXAMPLES = 500  # training inputs on which the ranges for 8 bits are measured
# During the cool-down the strength of augmentation falls to this share, as real input is not
# augmented.
LEAST_AUGMENTED = 0.6
Batch = tuple[NDArray[Any], ...]
"""A network's input, uint8, and the targets that its loss takes."""


EYE = Plan(
    name="eye",
    build=networks.build_eye,
    loss=networks.eye_loss,
    rate=3e-3,
    steps=200,
    batch=64,
    half=False,
)
CLASSIFIER = Plan(
    name="classifier",
    build=networks.build_classifier,
    loss=networks.classifier_loss,
    rate=2e-3,
    steps=400,
    batch=128,
)
LINE = Plan(
    name="line",
    build=networks.build_line,
    loss=networks.line_loss,
    rate=2e-3,
    steps=300,
    batch=64,
)


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """What a training depends on, saved with the weights.

    Attributes:
        data: ``.npz`` sets; none means MNIST through ``keras.datasets``.
        eye_epochs: of 12,800 views each.
        epochs: of the classifier, of 51,200 glyphs each.
        line_epochs: of the line reader, of about 15,000 strips each.
        seed: of all randomness.
        scale: multiplies the number of generated inks.
    """

    data: tuple[Path, ...]
    eye_epochs: int
    epochs: int
    line_epochs: int
    seed: int = 0
    scale: float = 1.0

    def describe(self) -> dict[str, Any]:
        """Describe for the model file: names, not paths, of the sets."""
        names = [path.stem for path in self.data] or ["keras.datasets.mnist"]
        return asdict(self) | {"data": names}


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished training: the saved model's settings, its history, MNIST's test digits."""

    settings: model.Settings
    history: tuple[Epoch, ...]
    test: data.Drawings | None


@dataclass(frozen=True, slots=True)
class TrainCallbacks:
    """Callbacks that report progress.

    Attributes:
        on_stage: a stage begins: its name, its number of steps, and how many are done already.
        on_progress: that many more steps are done.
        on_epoch: the figures of an epoch.
    """

    on_stage: Callable[[str, int, int], None]
    on_progress: Callable[[int], None]
    on_epoch: Callable[[Epoch], None]


def train(
    settings: TrainSettings,
    out: Path,
    folder: Path,
    callbacks: TrainCallbacks,
    *,
    resume: bool = False,
) -> Trained:
    """Train and save a model.

    Args:
        settings: what to train.
        out: the ``.keras`` file to write.
        folder: where glyphs and checkpoints are kept.
        callbacks: called as it goes.
        resume: continue from the folder's checkpoints.

    Raises:
        DataError: the data are malformed or too few, or there is nothing to resume.
        MissingPackageError: TensorFlow is not installed.
    """
    sets = data.load(settings.data)
    training, held = data.hold_out(sets.training, HELD_OUT)
    check_enough(training, held)
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(settings, folder, callbacks, resume=resume)
    eye, eye_history = _train_eye(run, training, held)
    glyphs = _gather_glyphs(run, training, eye, settings.scale)
    held_glyphs = _gather_glyphs(run, held, eye, HELD_OUT * settings.scale)
    classifier, history = _train_classifier(run, glyphs, held_glyphs)
    flatbuffer = networks.compile_for_litert(classifier, glyphs.choose_examples(EXAMPLES))
    pool = _draw_inks(run, training, settings.scale)
    held_pool = _draw_inks(run, held, HELD_OUT * settings.scale)
    inks = strips.load_pool(held_pool)
    units = (strips.compose_unit(inks, settings.seed + 1, each) for each in range(HELD_STRIPS))
    held_strips = [batch for unit in units for batch in unit]
    reader, compiled_line, line_history = _train_line(run, pool, held_strips, eye)
    shown = _show_strips(run, held_pool, eye, settings.seed + 1, HELD_SHOWN)
    calibrated = _calibrate(flatbuffer, held_glyphs, compiled_line, shown, settings)
    trained = networks.Networks(classifier, flatbuffer, eye, reader, compiled_line)
    networks.save(trained, calibrated, out)
    return Trained(calibrated, (*eye_history, *history, *line_history), sets.test)


def check_data(paths: Sequence[Path]) -> None:
    """Check the sets to train on; without paths they are not downloaded yet, and not checked.

    Raises:
        DataError: they are malformed or too few.
    """
    if paths:
        check_enough(*data.hold_out(data.load(paths).training, HELD_OUT))


def check_enough(training: Sequence[data.Drawings], held: Sequence[data.Drawings]) -> None:
    """Check that there are some images of each digit, and some that are held out.

    Raises:
        DataError: there are not.
    """
    names = ", ".join(drawings.name for drawings in training)
    number = sum(len(drawings.labels) for drawings in (*training, *held))
    if number < FEWEST or sum(len(drawings.labels) for drawings in held) < FEWEST * HELD_OUT / 2:
        raise DataError(
            f"{names}: {count(number, 'image')} are too few to train on: at least {FEWEST} are "
            "needed, and some thousands for a model that reads well"
        )
    missing = set(range(DIGITS)).difference(*(drawings.labels.tolist() for drawings in training))
    if missing:
        raise DataError(
            f"{names}: no image of {', '.join(map(str, sorted(missing)))} to train on: add some of "
            "each digit"
        )


@dataclass(frozen=True, slots=True)
class _Run:
    """What the training of all networks has in common; see ``train``."""

    settings: TrainSettings
    folder: Path
    callbacks: TrainCallbacks
    resume: bool


def _train_eye(
    run: _Run, training: tuple[data.Drawings, ...], held: tuple[data.Drawings, ...]
) -> tuple[bytes, list[Epoch]]:
    """Train the eye; returns it compiled, and the history."""
    seed = run.settings.seed
    learner = Learner(EYE, run.settings.eye_epochs, seed, run.folder)
    if run.resume:
        learner.restore()
    # A different seed, so that no page of validation is a page of training.
    views = {
        content: eye_batches.compose_unit(held, seed + 1, number, content)
        for number, content in enumerate(HELD_CONTENTS)
    }
    first = len(learner.history) * EYE.steps * EYE.batch // (eye_batches.UNIT * eye_batches.SHOWN)
    with eye_batches.EyeStream(training, seed, first) as stream:

        def batches(_: int) -> Iterator[Batch]:
            for _ in range(EYE.steps):
                yield stream.take(EYE.batch)

        _learn(run, learner, batches, lambda: eye_figures.measure(learner.network, views))
        examples = stream.take(EXAMPLES).pixels
    eye = networks.add_probabilities(learner.network)
    return networks.compile_for_litert(eye, examples), learner.history


def _gather_glyphs(
    run: _Run, sets: tuple[data.Drawings, ...], eye: bytes, scale: float
) -> GlyphCache:
    """Show all inks to the eye."""
    units = ink_sources.plan(sets, run.settings.seed, scale)
    run.callbacks.on_stage("glyphs", len(units), 0)
    return glyph_batches.gather(units, eye, run.folder, run.callbacks.on_progress)


def _train_classifier(run: _Run, glyphs: GlyphCache, held: GlyphCache) -> tuple[Any, list[Epoch]]:
    """Train the classifier; returns its Keras network and the history."""
    seed, epochs = run.settings.seed, run.settings.epochs
    learner = Learner(CLASSIFIER, epochs, seed, run.folder)
    if run.resume and learner.checkpoint.exists():
        learner.restore()
    answer = networks.run_with_keras(learner.network)

    def batches(epoch: int) -> Iterator[Batch]:
        rng = np.random.default_rng((seed, epoch))
        strength = LEAST_AUGMENTED + (1 - LEAST_AUGMENTED) * cool_down(epoch, epochs)
        return glyph_batches.prefetch(
            glyphs.draw_batches(rng, strength, CLASSIFIER.steps, CLASSIFIER.batch)
        )

    def measure() -> tuple[float, float]:
        logits = answer(held.glyphs)
        return log_loss(logits, held.counts, held.labels, 1.0), share_right(logits, held.labels)

    _learn(run, learner, batches, measure)
    return learner.network, learner.history


def _train_line(
    run: _Run, pool: Path, held: Sequence[strips.StripBatch], eye: bytes
) -> tuple[Any, bytes, list[Epoch]]:
    """Train the line reader; returns its Keras network, the compiled one, and the history."""
    seed, epochs = run.settings.seed, run.settings.line_epochs
    learner = Learner(LINE, epochs, seed, run.folder)
    if run.resume and learner.checkpoint.exists():
        learner.restore()
    units = max(1, round(SHOWN_UNITS * run.settings.scale))
    shown = _show_strips(run, pool, eye, seed, units, distorts=True)
    first = len(learner.history) * LINE.steps * LINE.batch // strips.UNIT
    with strips.StripStream(pool, seed, first) as stream:

        def batches(epoch: int) -> Iterator[strips.StripBatch]:
            # Towards the end it learns from what the workers will give it.
            share = SHOWN_SHARE if cool_down(epoch, epochs) < 1 else 0.0
            rng = np.random.default_rng((seed, epoch))
            return islice(shown_strips.mix(iter(stream), shown, rng, share), LINE.steps)

        _learn(run, learner, batches, lambda: networks.measure_line(learner.network, held))
        examples = strips.take(batches(epochs), EXAMPLES)
    return learner.network, networks.compile_for_litert(learner.network, examples), learner.history


def _show_strips(
    run: _Run, pool: Path, eye: bytes, seed: int, units: int, *, distorts: bool = False
) -> ShownStrips:
    """Show pages with numbers to the eye."""
    run.callbacks.on_stage("strips", units, 0)
    on_unit = run.callbacks.on_progress
    return shown_strips.gather(pool, eye, seed, units, run.folder, on_unit, distorts=distorts)


def _draw_inks(run: _Run, sets: tuple[data.Drawings, ...], scale: float) -> Path:
    """Draw the inks that strips are composed of; returns the file of their pool."""
    units = ink_sources.plan(sets, run.settings.seed, scale * STRIP_INKS)
    run.callbacks.on_stage("inks", len(units), 0)
    return strips.draw_pool(units, run.folder, run.callbacks.on_progress)


def _learn(
    run: _Run,
    learner: Learner,
    batches: Callable[[int], Iterable[Batch]],
    measure: Callable[[], tuple[Any, ...]],
) -> None:
    """Train a network for the epochs that its history lacks, and add them to it.

    Args:
        run: the training.
        learner: the network.
        batches: returns an epoch's batches.
        measure: returns an epoch's figures on the validation data, in the order of ``Epoch``.
    """
    plan, history = learner.plan, learner.history
    run.callbacks.on_stage(plan.name, learner.epochs * plan.steps, len(history) * plan.steps)
    for epoch in range(len(history), learner.epochs):
        losses = []
        for inputs, *targets in batches(epoch):
            losses.append(learner.step(inputs, *targets))
            run.callbacks.on_progress(1)
        history.append(Epoch(plan.name, epoch + 1, float(np.mean(losses)), *measure()))
        learner.save()
        run.callbacks.on_epoch(history[-1])


def _calibrate(
    flatbuffer: bytes,
    held: GlyphCache,
    compiled_line: bytes,
    shown: ShownStrips,
    settings: TrainSettings,
) -> model.Settings:
    """Calibrate the compiled networks' answers on the validation data."""
    logits = litert.load_classifier(flatbuffer)(held.glyphs)
    fitted = fit_calibration(logits, held.counts, held.labels)
    numbers, share = _read_strips(litert.load_line(compiled_line), shown)
    return model.Settings(
        temperature=fitted.temperature,
        one_odds=fitted.one_odds,
        unsure_below=fitted.unsure_below,
        line=fit_number_calibration(numbers),
        training=settings.describe(),
        scores={
            "held_accuracy": share_right(logits, held.labels),
            "held_calibration_error": fitted.calibration_error,
            "held_numbers": share,
        },
    )


def _read_strips(read: litert.ReadLine, shown: ShownStrips) -> tuple[NumberReadings, float]:
    """Read the eye's strips of validation pages.

    Returns:
        The readings that are numbers, since others are never ``ok``; and how many of the strips
        that are numbers are read right, as a share.
    """
    readings, left_out, right = [], [], []
    numbers = hits = 0
    for (pixels, symbols), beside in zip(shown, shown.left_out, strict=True):
        reading, label = line.decode(read(line.Strip(pixels))), line.spell(symbols)
        numbers += is_number(label)
        hits += is_number(label) and reading.text == label
        if is_number(reading.text):
            readings.append(reading)
            left_out.append(beside)
            right.append(reading.text == label)
    return (
        NumberReadings(
            np.array([reading.log_probability for reading in readings]),
            np.array([reading.margin for reading in readings]),
            np.array(left_out),
            np.array([len(reading.text) for reading in readings]),
            np.array(right, np.bool_),
        ),
        hits / max(1, numbers),
    )
