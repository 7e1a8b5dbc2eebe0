"""Train the tutorials' own network: two hidden layers of 128, on pixels from 0 to 1."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from daemon.reading.glyph import GLYPH
from daemon.records import DIGITS
from daemon.training import data, frameworks
from daemon.training.report import DPI, QUIET, RIGHT, WRONG
from daemon.training.train import HELD_OUT, check_enough

EPOCHS = 10  # as in the tutorials
_HIDDEN = 128
_BATCH = 32
_SHOWN = 32  # examples


@dataclass(frozen=True, slots=True)
class SimpleEpoch:
    """The figures of an epoch: mean loss in nats, and shares that are right."""

    epoch: int
    loss: float
    accuracy: float
    held_loss: float
    held_accuracy: float


@dataclass(frozen=True, slots=True)
class SimpleTraining:
    """A finished training.

    Attributes:
        file: the Keras file.
        pictures: the curves and the examples.
        tested: of MNIST's test digits, how many are right and how many there are; without them,
            of the validation digits.
    """

    file: Path
    pictures: tuple[Path, Path]
    tested: tuple[int, int]


def train(
    paths: Sequence[Path],
    file: Path,
    folder: Path,
    seed: int,
    epochs: int,
    on_epoch: Callable[[SimpleEpoch], None],
) -> SimpleTraining:
    """Train the network, save it, and draw its curves and examples.

    Args:
        paths: ``.npz`` sets; none means MNIST through ``keras.datasets``.
        file: the ``.keras`` file to write.
        folder: where the pictures are written.
        seed: of all randomness.
        epochs: passes over the training digits.
        on_epoch: called with each epoch's figures.

    Raises:
        DataError: the data are malformed, or too few.
        MissingPackageError: TensorFlow is not installed.
    """
    sets = data.load(paths)
    training, held = data.hold_out(sets.training, HELD_OUT)
    check_enough(training, held)
    keras = frameworks.import_keras()
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input((GLYPH, GLYPH)),
            layers.Flatten(),
            layers.Dense(_HIDDEN, activation="relu"),
            layers.Dense(_HIDDEN, activation="relu"),
            layers.Dense(DIGITS, activation="softmax"),
        ]
    )
    network.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history: list[SimpleEpoch] = []
    inputs, labels = _gather(training)
    held_inputs, held_labels = _gather(held)
    for epoch in range(1, epochs + 1):
        fitted = network.fit(inputs, labels, batch_size=_BATCH, epochs=1, verbose=0).history
        measured = network.evaluate(held_inputs, held_labels, verbose=0)
        history.append(SimpleEpoch(epoch, fitted["loss"][0], fitted["accuracy"][0], *measured))
        on_epoch(history[-1])
    for each in (file.parent, folder):
        each.mkdir(parents=True, exist_ok=True)
    network.save(file)
    test, truth = (held_inputs, held_labels) if sets.test is None else _gather([sets.test])
    scores = network.predict(test, batch_size=256, verbose=0)
    pictures = folder / "curves.png", folder / "examples.png"
    _draw_curves(history, pictures[0])
    _draw_examples(test, truth, scores, pictures[1])
    return SimpleTraining(file, pictures, (int((scores.argmax(axis=1) == truth).sum()), len(truth)))


def format_epoch(epoch: SimpleEpoch) -> str:
    """Return the figures of an epoch as one line."""
    return (
        f"epoch {epoch.epoch}: loss {epoch.loss:.3f}, right {epoch.accuracy:.2%}; "
        f"validation {epoch.held_loss:.3f}, {epoch.held_accuracy:.2%}"
    )


def format_training(trained: SimpleTraining) -> str:
    """Return what came of a training as lines of text."""
    right, number = trained.tested
    return (
        f"wrote {trained.file}: alone it reads {right} of {number} digits right "
        f"({right / number:.2%})\npictures: {', '.join(map(str, trained.pictures))}"
    )


def _gather(sets: Sequence[data.Drawings]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return all images as (N, 28, 28) from 0 to 1, and their labels."""
    images = [
        cv2.resize(image, (GLYPH, GLYPH), interpolation=cv2.INTER_AREA)
        for drawings in sets
        for image in drawings.images
    ]
    labels = np.concatenate([drawings.labels for drawings in sets])
    return np.array(images, np.float32) / np.float32(255), labels


def _draw_curves(history: Sequence[SimpleEpoch], path: Path) -> None:
    figure = Figure(figsize=(10, 3.7), layout="constrained")
    losses, errors = figure.subplots(1, 2)
    epochs = [each.epoch for each in history]
    for axes, training, validation in (
        (losses, [each.loss for each in history], [each.held_loss for each in history]),
        (
            errors,
            [100 * (1 - each.accuracy) for each in history],
            [100 * (1 - each.held_accuracy) for each in history],
        ),
    ):
        axes.plot(epochs, training, label="training", color=QUIET, marker="o", markersize=3)
        axes.plot(epochs, validation, label="validation", color="#1565c0", marker="o", markersize=3)
        axes.set(xlabel="epoch", ylim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(visible=True, alpha=0.25)
        axes.legend()
    losses.set(ylabel="loss (nats)", title="loss")
    errors.set(ylabel="wrong (%)", title="error rate")
    figure.savefig(path, dpi=DPI)


def _draw_examples(
    images: NDArray[np.float32],
    labels: NDArray[np.int64],
    scores: NDArray[np.float32],
    path: Path,
) -> None:
    """Draw some digits with their answers: the most confident mistakes first, then others."""
    answers = scores.argmax(axis=1)
    wrong = np.flatnonzero(answers != labels)
    wrong = wrong[np.argsort(-scores[wrong].max(axis=1))][: _SHOWN // 2]
    others = np.flatnonzero(answers == labels)[: _SHOWN - len(wrong)]
    figure = Figure(figsize=(10, 6.4), layout="constrained")
    figure.suptitle(f"{len(labels) - np.sum(answers == labels)} of {len(labels)} are wrong")
    grid = figure.subplots(4, 8)
    for axes in grid.ravel():
        axes.axis("off")
    for axes, which in zip(grid.ravel(), [*wrong, *others], strict=False):
        colour = RIGHT if answers[which] == labels[which] else WRONG
        axes.imshow(images[which], cmap="gray", vmin=0, vmax=1)
        axes.set_title(
            f"{labels[which]} read as {answers[which]}, {scores[which].max():.0%}",
            fontsize=8,
            color=colour,
        )
    figure.savefig(path, dpi=DPI)
