"""Train a model: first the eye, then the classifier on what the eye gives it."""

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

from daemon.errors import DataError
from daemon.reading import model
from daemon.training import calibrate, data, frameworks, inks, network, pool, unet, views
from daemon.training.augment import Augmenter
from daemon.training.learner import Learner, Plan
from daemon.training.learner import left as share_left

Batch = tuple[NDArray[Any], ...]
"""A network's inputs, and the targets that its loss takes."""

EYE, CLASSIFIER = "eye", "classifier"
EYE_STEPS, EYE_BATCH, EYE_RATE = 200, 64, 3e-3  # steps an epoch, views a step, learning rate
STEPS, BATCH, RATE = 400, 128, 2e-3  # the same of the classifier; glyphs a step
# During the cool-down the strength of augmentation falls to this share, as real input is not
# augmented.
LEAST_VARIED = 0.6
HELD_OUT = 0.04  # share of each data set that is never trained on: its last images
HELD_VIEWS = 4  # units of views that the eye is validated on
MEASURED = 500  # training inputs on which the ranges for 8 bits are measured


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """What a training depends on, saved with the weights.

    Attributes:
        data: ``.npz`` sets; none means MNIST through ``keras.datasets``.
        eye_epochs: of 12,800 views each.
        epochs: of the classifier, of 51,200 glyphs each.
        seed: of all randomness.
        scale: makes everything but the sets themselves so many times larger.
    """

    data: tuple[Path, ...]
    eye_epochs: int
    epochs: int
    seed: int = 0
    scale: float = 1.0

    def described(self) -> dict[str, Any]:
        """Describe for the model file: names, not paths, of the sets."""
        names = [path.stem for path in self.data] or ["keras.datasets.mnist"]
        return asdict(self) | {"data": names}


@dataclass(frozen=True, slots=True)
class Epoch:
    """The figures of an epoch; those of the averaged weights are measured on validation data.

    Attributes:
        network: ``eye`` or ``classifier``.
        epoch: from 1 on.
        loss: of the training data.
        held_loss: of the validation data.
        held_accuracy: share of the digits, or of the counts, that is right.
        held_overlap: of the eye's mask and the ink: intersection over union, the mean of pages
            with one digit.
    """

    network: str
    epoch: int
    loss: float
    held_loss: float
    held_accuracy: float
    held_overlap: float | None = None


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
        begun: a stage begins: its name, how much there is to do, and how much is done already.
        advanced: so much more of it is done.
        ended: the figures of an epoch.
    """

    begun: Callable[[str, int, int], None]
    advanced: Callable[[int], None]
    ended: Callable[[Epoch], None]


def train(
    settings: TrainSettings, out: Path, folder: Path, progress: Progress, *, resume: bool = False
) -> Trained:
    """Train and save a model.

    Args:
        settings: what to train.
        out: the ``.keras`` file to write.
        folder: where glyphs and checkpoints are kept.
        progress: called as it goes.
        resume: go on from the folder's checkpoints.

    Raises:
        DataError: the data are not what they should be, or there is nothing to resume.
    """
    frameworks.tensorflow()  # a missing package is found before the data are read
    sets = data.load(settings.data)
    folder.mkdir(parents=True, exist_ok=True)
    training, held = data.hold_out(sets.training, HELD_OUT)
    run = _Run(settings, folder, progress, resume=resume)
    eye, seen = _train_eye(run, training, held)
    glyphs, kept = (
        _shown(run, some, eye, scale)
        for some, scale in ((training, settings.scale), (held, HELD_OUT * settings.scale))
    )
    classifier, read = _train_classifier(run, glyphs, kept)
    stored = _finish(classifier, eye, glyphs, kept, settings.described(), out)
    return Trained(stored, (*seen, *read), sets.test)


@dataclass(frozen=True, slots=True)
class _Run:
    """What both networks' training has in common; see ``train``."""

    settings: TrainSettings
    folder: Path
    progress: Progress
    resume: bool

    def checkpoint(self, name: str) -> Path:
        """Return where a network's checkpoint is kept."""
        return self.folder / f"{name}.npz"


def _train_eye(
    run: _Run, training: tuple[data.Drawings, ...], held: tuple[data.Drawings, ...]
) -> tuple[bytes, list[Epoch]]:
    """Train the eye; returns it compiled, and the history."""
    seed, epochs = run.settings.seed, run.settings.eye_epochs
    learner = Learner(Plan(unet.build, unet.loss, unet.scaled, EYE_RATE, EYE_STEPS, epochs, seed))
    history = _restored(learner, run.checkpoint(EYE)) if run.resume else []
    # A seed of its own, so that no page of validation is a page of training.
    shown = views.joined([views.one(held, seed + 1, number) for number in range(HELD_VIEWS)])
    first = len(history) * EYE_STEPS * EYE_BATCH // views.UNIT
    with views.stream(training, seed, first) as fresh:

        def batches(_: int) -> Iterator[Batch]:
            for _ in range(EYE_STEPS):
                batch = fresh.take(EYE_BATCH)
                yield batch.pixels, batch.ink, batch.counts

        _learn(run, EYE, learner, history, batches, lambda: unet.measure(learner.network, shown))
        examples = fresh.take(MEASURED).pixels
    return network.compiled(unet.compilable(learner.network), examples), history


def _shown(run: _Run, sets: tuple[data.Drawings, ...], eye: bytes, scale: float) -> pool.Pool:
    """Show all inks to the eye."""
    work = inks.plan(sets, run.settings.seed, scale)
    run.progress.begun("glyphs", len(work), 0)
    return pool.gather(work, eye, run.folder, tell=run.progress.advanced)


def _train_classifier(run: _Run, glyphs: pool.Pool, held: pool.Pool) -> tuple[Any, list[Epoch]]:
    """Train the classifier; returns its Keras network and the history."""
    seed, epochs = run.settings.seed, run.settings.epochs
    learner = Learner(Plan(network.build, network.loss, network.scaled, RATE, STEPS, epochs, seed))
    checkpoint = run.checkpoint(CLASSIFIER)
    history = _restored(learner, checkpoint) if run.resume and checkpoint.exists() else []
    answer = network.forward(learner.network)

    def measure() -> tuple[float, float]:
        logits = answer(held.glyphs)
        loss = calibrate.loss(logits, held.counts, held.labels, 1.0)
        return loss, _accuracy(logits, held.labels)

    def batches(epoch: int) -> Iterator[Batch]:
        return _ahead(_batches(glyphs, run.settings, epoch))

    _learn(run, CLASSIFIER, learner, history, batches, measure)
    return learner.network, history


def _learn(
    run: _Run,
    name: str,
    learner: Learner,
    history: list[Epoch],
    batches: Callable[[int], Iterator[Batch]],
    measure: Callable[[], tuple[float, ...]],
) -> None:
    """Train a network for the epochs that its history lacks, and add them to it.

    Args:
        run: the training.
        name: of the network.
        learner: has it.
        history: the epochs that are done.
        batches: returns an epoch's batches.
        measure: returns loss, accuracy and, of the eye, overlap on the validation data.
    """
    epochs, steps = learner.plan.epochs, learner.plan.steps
    run.progress.begun(name, epochs * steps, len(history) * steps)
    for epoch in range(len(history), epochs):
        losses = []
        for batch in batches(epoch):
            losses.append(learner.step(*batch))
            run.progress.advanced(1)
        history.append(Epoch(name, epoch + 1, float(np.mean(losses)), *measure()))
        learner.save(run.checkpoint(name), [asdict(each) for each in history])
        run.progress.ended(history[-1])


def _restored(learner: Learner, checkpoint: Path) -> list[Epoch]:
    try:
        return [Epoch(**each) for each in learner.restore(checkpoint)]
    except TypeError as error:
        raise DataError(f"{checkpoint}: cannot be resumed from: {error}") from error


def _finish(
    classifier: Any,
    eye: bytes,
    glyphs: pool.Pool,
    held: pool.Pool,
    described: dict[str, Any],
    out: Path,
) -> model.Settings:
    """Compile the classifier, calibrate what the compiled one answers, and save all."""
    shares = np.array([pool.share(str(group)) for group in glyphs.groups])
    groups, sizes = np.unique(glyphs.groups, return_counts=True)
    shares /= sizes[np.searchsorted(groups, glyphs.groups)]
    measured = np.random.default_rng(0).choice(
        len(shares), min(MEASURED, len(shares)), replace=False, p=shares / shares.sum()
    )
    flatbuffer = network.compiled(classifier, glyphs.glyphs[measured])
    logits = model.compiled(flatbuffer)(held.glyphs)
    fitted = calibrate.fit(logits, held.counts, held.labels)
    stored = model.Settings(
        temperature=fitted.temperature,
        unsure_below=fitted.unsure_below,
        training=described,
        scores={
            "held_accuracy": _accuracy(logits, held.labels),
            "held_calibration_error": fitted.calibration_error,
        },
    )
    network.save(classifier, flatbuffer, eye, stored, out)
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
