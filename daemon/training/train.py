"""Train a model: data, eye, glyphs, classifier; then compile, calibrate and save it."""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon.errors import DataError
from daemon.reading import litert, model
from daemon.training import (
    data,
    eye_batches,
    eye_figures,
    frameworks,
    glyph_batches,
    ink_sources,
    networks,
)
from daemon.training.calibration import fit_calibration, log_loss
from daemon.training.glyph_batches import GlyphCache

HELD_OUT = 0.04  # share of each data set that is never trained on: its last images
# What the pages have on them that the eye is validated on, a unit of views each.
HELD_CONTENTS = tuple(eye_batches.CONTENTS)
EXAMPLES = 500  # training inputs on which the ranges for 8 bits are measured
# During the cool-down the strength of augmentation falls to this share, as real input is not
# augmented.
LEAST_AUGMENTED = 0.6
WEIGHT_DECAY = 0.01  # of AdamW (Loshchilov and Hutter 2019)
# Share of the epochs over which the learning rate falls to zero (Hu et al. 2024, "WSD"). A run
# that is resumed with more epochs rises again to the peak.
COOL_DOWN = 0.3
AVERAGED = 0.998  # share of the averaged weights that stays at each step (Polyak)

Batch = tuple[NDArray[Any], ...]
"""A network's input, uint8, and the targets that its loss takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a network learns.

    Attributes:
        name: ``eye`` or ``classifier``.
        build: returns the network from a seed; with ``learning=True`` the copy that learns.
        loss: of a batch: takes the network's answers and the targets.
        rate: peak learning rate.
        steps: in an epoch.
        batch: views or glyphs in a step.
        half: whether it learns in bfloat16. The eye has few channels: a step takes 0.15 s of
            processor time in float32 and 0.20 in bfloat16 (one core with AMX).
    """

    name: str
    build: Callable[..., Any]
    loss: Callable[..., Any]
    rate: float
    steps: int
    batch: int
    half: bool = True


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


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """What a training depends on, saved with the weights.

    Attributes:
        data: ``.npz`` sets; none means MNIST through ``keras.datasets``.
        eye_epochs: of 12,800 views each.
        epochs: of the classifier, of 51,200 glyphs each.
        seed: of all randomness.
        scale: multiplies the number of generated inks.
    """

    data: tuple[Path, ...]
    eye_epochs: int
    epochs: int
    seed: int = 0
    scale: float = 1.0

    def describe(self) -> dict[str, Any]:
        """Describe for the model file: names, not paths, of the sets."""
        names = [path.stem for path in self.data] or ["keras.datasets.mnist"]
        return asdict(self) | {"data": names}


@dataclass(frozen=True, slots=True)
class Epoch:
    """The figures of an epoch; the held-out ones are those of the averaged weights.

    Attributes:
        network: ``eye`` or ``classifier``.
        epoch: from 1 on.
        loss: on the training data.
        held_loss: on the validation data.
        held_accuracy: share of the digits, or of the counts, that is right.
        held_overlap: of the eye's mask and the ink: intersection over union, the mean of views
            with ink.
        held_kinds: of the eye: loss, accuracy and overlap for each kind of page.
    """

    network: str
    epoch: int
    loss: float
    held_loss: float
    held_accuracy: float
    held_overlap: float | None = None
    held_kinds: dict[str, eye_figures.Figures] | None = None


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
        DataError: the data are malformed, or there is nothing to resume.
        MissingPackageError: TensorFlow is not installed.
    """
    sets = data.load(settings.data)
    training, held = data.hold_out(sets.training, HELD_OUT)
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(settings, folder, callbacks, resume=resume)
    eye, eye_history = _train_eye(run, training, held)
    glyphs = _gather_glyphs(run, training, eye, settings.scale)
    held_glyphs = _gather_glyphs(run, held, eye, HELD_OUT * settings.scale)
    classifier, history = _train_classifier(run, glyphs, held_glyphs)
    flatbuffer = networks.compile_for_litert(classifier, glyphs.choose_examples(EXAMPLES))
    calibrated = _calibrate(flatbuffer, held_glyphs, settings)
    networks.save(classifier, flatbuffer, eye, calibrated, out)
    return Trained(calibrated, (*eye_history, *history), sets.test)


@dataclass(frozen=True, slots=True)
class _Run:
    """What the training of both networks has in common; see ``train``."""

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
        return log_loss(logits, held.counts, held.labels, 1.0), _accuracy(logits, held.labels)

    _learn(run, learner, batches, measure)
    return learner.network, learner.history


def _learn(
    run: _Run,
    learner: "Learner",
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


class Learner:
    """A network that learns, its optimizer, and the network of its averaged weights.

    Attributes:
        plan: how it learns.
        epochs: in total.
        checkpoint: the file that it is saved in after each epoch.
        network: of the averaged weights.
        history: the epochs that are done.
    """

    def __init__(self, plan: Plan, epochs: int, seed: int, folder: Path) -> None:
        self.plan = plan
        self.epochs = epochs
        self.checkpoint = folder / f"{plan.name}.npz"
        with frameworks.half_precision() if plan.half else nullcontext():
            self._learning = plan.build(seed, learning=True)
        self.network = plan.build(seed)
        self.history: list[Epoch] = []
        keras = frameworks.import_keras()
        self._optimizer = keras.optimizers.AdamW(plan.rate, weight_decay=WEIGHT_DECAY)
        # Weight decay would counteract scales and offsets.
        self._optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
        self._optimizer.build(self._learning.trainable_variables)
        self._taken = 0  # steps
        self._compiled_step = self._compile_step()

    def step(self, inputs: NDArray[np.uint8], *targets: NDArray[Any]) -> float:
        """Learn from one batch; returns its loss."""
        tf = frameworks.import_tensorflow()
        done = self._taken / self.plan.steps
        warm_up = (self._taken + 1) / (self.plan.steps / 2)  # half an epoch until the peak
        rate = self.plan.rate * min(warm_up, cool_down(done, self.epochs))
        self._optimizer.learning_rate.assign(rate)
        # A young average follows fast, or it would keep the first random weights for long.
        keep = min(AVERAGED, (1 + self._taken) / (10 + self._taken))
        self._taken += 1
        loss = self._compiled_step(
            tf.constant(inputs), tuple(map(tf.constant, targets)), tf.constant(keep, tf.float32)
        )
        return float(loss)

    def _compile_step(self) -> Any:
        """Return a function of inputs, targets and ``keep`` that changes the weights."""
        tf = frameworks.import_tensorflow()
        weights = self._learning.trainable_variables
        averaging = list(zip(self.network.weights, self._learning.weights, strict=True))

        @tf.function(autograph=False)  # type: ignore[untyped-decorator]
        def step(inputs: Any, targets: Any, keep: Any) -> Any:
            with tf.GradientTape() as tape:
                answers = self._learning(networks.scale_pixels(inputs), training=True)
                loss = self.plan.loss(answers, *targets)
            self._optimizer.apply(tape.gradient(loss, weights), weights)
            for average, weight in averaging:
                average.assign(keep * average + (1 - keep) * weight)
            return loss

        return step

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        arrays: dict[str, Any] = {f"v{i}": v.numpy() for i, v in enumerate(self._variables())}
        whole = self.checkpoint.with_suffix(".part.npz")
        epochs = json.dumps([asdict(epoch) for epoch in self.history])
        np.savez(whole, taken=self._taken, history=epochs, **arrays)
        whole.replace(self.checkpoint)

    def restore(self) -> None:
        """Continue from the checkpoint.

        Raises:
            DataError: there is none, or it is of another network.
        """
        try:
            with np.load(self.checkpoint) as arrays:
                for index, variable in enumerate(self._variables()):
                    variable.assign(arrays[f"v{index}"])
                self._taken = int(arrays["taken"])
                self.history = [Epoch(**each) for each in json.loads(str(arrays["history"]))]
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise DataError(
                f"{self.checkpoint}: cannot be resumed from: {error}: "
                "train without --resume, or name another --work"
            ) from error

    def _variables(self) -> list[Any]:
        return [*self._learning.variables, *self._optimizer.variables, *self.network.weights]


def cool_down(done: float, epochs: int) -> float:
    """Return the share of the cool-down that is left after ``done`` epochs; 1 until it begins."""
    return min(1.0, max(0.0, (epochs - done) / (COOL_DOWN * epochs)))


def _calibrate(flatbuffer: bytes, held: GlyphCache, settings: TrainSettings) -> model.Settings:
    """Calibrate the compiled classifier's answers on the validation data."""
    logits = litert.load_classifier(flatbuffer)(held.glyphs)
    fitted = fit_calibration(logits, held.counts, held.labels)
    return model.Settings(
        temperature=fitted.temperature,
        unsure_below=fitted.unsure_below,
        training=settings.describe(),
        scores={
            "held_accuracy": _accuracy(logits, held.labels),
            "held_calibration_error": fitted.calibration_error,
        },
    )


def _accuracy(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    return float((logits.argmax(axis=1) == labels).mean())
