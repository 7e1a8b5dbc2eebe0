"""Train a model: data, network, loop; averaged weights, checkpoints, resume."""

# Keras and TensorFlow ship no types.
# ruff: noqa: ANN401

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon.reading import model
from daemon.training import calibrate, data, frameworks, network, pool
from daemon.training.augment import Augmenter
from daemon.training.learner import LEARNING_RATE, STEPS, Epoch, Learner
from daemon.training.learner import left as share_left

Batch = tuple[NDArray[np.uint8], NDArray[np.int64]]

BATCH = 128  # glyphs a step
# During the cool-down the strength of augmentation falls to this share, as real input is not
# augmented. No lower: two runs in which it fell to 0.35 read MNIST's test digits best at 0.5 to
# 0.7, by 0.05 % of them, though the validation loss fell to the end.
LEAST_VARIED = 0.6
# During the cool-down MNIST's share grows by this factor. A third of its test digits that are
# misread before look like another digit in a style that MNIST lacks (European 1, crossed 7,
# flat-hooked 6), and averaging the answers of two networks corrects few of them.
MNIST_RISES = 4.0
HELD_APART = 0.02  # share of the glyphs that calibrate and are never trained on
MEASURED = 500  # training glyphs on which the ranges for 8 bits are measured


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """What a training depends on, saved with the weights.

    Attributes:
        data: ``.npz`` sets; none means MNIST through ``keras.datasets``.
        epochs: of 51,200 glyphs each.
        seed: of all randomness.
        scale: makes everything but the sets themselves so many times larger.
    """

    data: tuple[Path, ...]
    epochs: int
    seed: int = 0
    scale: float = 1.0

    def described(self) -> dict[str, Any]:
        """Describe for the model file: names, not paths, of the sets."""
        names = [path.stem for path in self.data] or ["keras.datasets.mnist"]
        return asdict(self) | {"data": names, "batch": BATCH, "learning_rate": LEARNING_RATE}


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished training: the saved model's settings, its history, MNIST's test digits."""

    settings: model.Settings
    history: tuple[Epoch, ...]
    test: data.Drawings | None


@dataclass(frozen=True, slots=True)
class Progress:
    """Callbacks that report progress.

    Attributes:
        making: the share of the glyphs that is prepared, 0 to 1.
        began: the number of steps that a resumed run has done before.
        stepped: the number of steps just done.
        ended: the figures of an epoch.
    """

    making: Callable[[float], None]
    began: Callable[[int], None]
    stepped: Callable[[int], None]
    ended: Callable[[Epoch], None]


def train(
    settings: TrainSettings, out: Path, folder: Path, progress: Progress, *, resume: bool = False
) -> Trained:
    """Train and save a model.

    Args:
        settings: what to train.
        out: the ``.keras`` file to write.
        folder: where pool and checkpoint are kept.
        progress: called as it goes.
        resume: go on from the folder's checkpoint.

    Raises:
        DataError: the data are not what they should be, or there is nothing to resume.
    """
    frameworks.tensorflow()  # a missing package is found before the pool takes minutes
    glyphs = _gathered(settings, folder, progress)
    held, test = glyphs.held, glyphs.test
    learner = Learner(settings.epochs, settings.seed)
    checkpoint = folder / "checkpoint.npz"
    history = learner.restore(checkpoint) if resume else []
    progress.began(len(history) * STEPS)
    for epoch in range(len(history), settings.epochs):
        losses = []
        for batch in _ahead(_batches(glyphs.training, settings, epoch)):
            losses.append(learner.step(*batch))
            progress.stepped(1)
        logits = learner.logits(held.glyphs)
        ended = Epoch(
            epoch + 1,
            float(np.mean(losses)),
            calibrate.loss(logits, held.labels, 1.0),
            _accuracy(logits, held.labels),
            None if test is None else _accuracy(learner.logits(test.glyphs), test.labels),
        )
        history.append(ended)
        learner.save(checkpoint, history)
        progress.ended(ended)
    stored = _finish(learner.network, glyphs, settings.described(), out)
    return Trained(stored, tuple(history), glyphs.test_drawings)


def recompile(
    weights: Path, settings: TrainSettings, out: Path, folder: Path, progress: Progress
) -> Trained:
    """Compile and calibrate a model again from its weights, without training.

    Args:
        weights: the ``.keras`` file of an earlier digitd.
        settings: as the model was trained, so that the same glyphs are held out.
        out: the ``.keras`` file to write.
        folder: where the pool is kept.
        progress: only ``making`` is called.

    Raises:
        ModelError: the file is not a model of digitd.
        DataError: see ``train``.
    """
    described = model.read(weights)[0].training
    old = network.load(weights)
    glyphs = _gathered(settings, folder, progress)
    return Trained(_finish(old, glyphs, described, out), (), glyphs.test_drawings)


@dataclass(frozen=True, slots=True)
class _Glyphs:
    """The glyphs of a training: to train on, to calibrate on, and MNIST's test digits if given."""

    training: pool.Pool
    held: pool.Pool
    test: pool.Pool | None
    test_drawings: data.Drawings | None


def _gathered(settings: TrainSettings, folder: Path, progress: Progress) -> _Glyphs:
    """Load the sets, make or load the pool, and hold out the same glyphs each time."""
    sets = data.load(settings.data)
    whole = pool.gather(
        sets.training, folder, seed=settings.seed, scale=settings.scale, tell=progress.making
    )
    training, held = whole.split(HELD_APART, settings.seed)
    test = None if sets.test is None else pool.as_it_is(sets.test)
    return _Glyphs(training, held, test, sets.test)


def _finish(trained: Any, glyphs: _Glyphs, described: dict[str, Any], out: Path) -> model.Settings:
    """Compile a network, calibrate it on what the compiled one answers, and save both."""
    shares = np.array([pool.share(str(group)) for group in glyphs.training.groups])
    groups, sizes = np.unique(glyphs.training.groups, return_counts=True)
    shares /= sizes[np.searchsorted(groups, glyphs.training.groups)]
    measured = np.random.default_rng(0).choice(
        len(shares), min(MEASURED, len(shares)), replace=False, p=shares / shares.sum()
    )
    flatbuffer = network.compiled(trained, glyphs.training.glyphs[measured])
    answer = model.compiled(flatbuffer)
    logits = answer(glyphs.held.glyphs)
    fitted = calibrate.fit(logits, glyphs.held.labels)
    scores = {
        "held_accuracy": _accuracy(logits, glyphs.held.labels),
        "held_calibration_error": fitted.calibration_error,
    }
    if glyphs.test is not None:
        scores["mnist_test_accuracy"] = _accuracy(answer(glyphs.test.glyphs), glyphs.test.labels)
    stored = model.Settings(
        temperature=fitted.temperature,
        unsure_below=fitted.unsure_below,
        training=described,
        scores=scores,
    )
    network.save(trained, flatbuffer, stored, out)
    return stored


def _accuracy(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    return float((logits.argmax(axis=1) == labels).mean())


def _batches(glyphs: pool.Pool, settings: TrainSettings, epoch: int) -> Iterator[Batch]:
    """Draw an epoch's batches by the groups' shares and vary them."""
    rng = np.random.default_rng((settings.seed, epoch))
    left = share_left(epoch, settings.epochs)
    augment = Augmenter(rng, LEAST_VARIED + (1 - LEAST_VARIED) * left)
    names = np.unique(glyphs.groups)
    members = [np.flatnonzero(glyphs.groups == name) for name in names]
    shares = np.array([pool.share(str(name)) for name in names])
    shares[names == data.MNIST] *= MNIST_RISES - (MNIST_RISES - 1) * left
    for _ in range(STEPS):
        drawn = rng.choice(len(names), BATCH, p=shares / shares.sum())
        which = np.array([rng.choice(members[group]) for group in drawn])
        yield augment(glyphs.glyphs[which]), glyphs.labels[which]


def _ahead(items: Iterator[Batch]) -> Iterator[Batch]:
    """Make items in a thread of their own, some ahead of who takes them."""
    waiting: queue.Queue[Batch | BaseException | None] = queue.Queue(maxsize=8)

    def make() -> None:
        try:
            for item in items:
                waiting.put(item)
            waiting.put(None)
        except BaseException as error:  # noqa: BLE001 - raised again where the items are taken
            waiting.put(error)

    threading.Thread(target=make, daemon=True).start()
    while (item := waiting.get()) is not None:
        if isinstance(item, BaseException):
            raise item
        yield item
