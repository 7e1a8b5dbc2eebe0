"""Train one network: its optimizer, learning-rate schedule, averaged weights and checkpoint."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon.errors import DataError
from daemon.training import eye_figures, frameworks, networks

WEIGHT_DECAY = 0.01  # of AdamW (Loshchilov and Hutter 2019)
# Share of the epochs over which the learning rate falls to zero (Hu et al. 2024, "WSD"). A run
# that is resumed with more epochs rises again to the peak.
COOL_DOWN = 0.3
# Norm of the gradients from which they are scaled down. Without it, one batch of strips in 9,600
# steps made all weights of the line reader infinite.
STEEPEST = 5.0
AVERAGED = 0.998  # share of the averaged weights that stays at each step (Polyak)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a network learns.

    Attributes:
        name: ``eye``, ``classifier`` or ``line``.
        build: returns the network from a seed; with ``learning=True`` the copy that learns.
        loss: of a batch: takes the network's answers and the targets.
        rate: peak learning rate.
        steps: in an epoch.
        batch: views, glyphs or strips in a step; of strips, about as many.
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


@dataclass(frozen=True, slots=True)
class Epoch:
    """The figures of an epoch; the held-out ones are those of the averaged weights.

    Attributes:
        network: ``eye``, ``classifier`` or ``line``.
        epoch: from 1 on.
        loss: on the training data.
        held_loss: on the validation data.
        held_accuracy: share of the digits, of the counts, or of the texts that is right.
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

        @tf.function(autograph=False, reduce_retracing=True)  # type: ignore[untyped-decorator]
        def step(inputs: Any, targets: Any, keep: Any) -> Any:
            with tf.GradientTape() as tape:
                answers = self._learning(networks.scale_pixels(inputs), training=True)
                loss = self.plan.loss(answers, *targets)
            self._optimizer.apply(_clip(tape.gradient(loss, weights)), weights)
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


def _clip(gradients: Any) -> list[Any]:
    """Return gradients with a norm of at most ``STEEPEST``; zeros if they are not finite."""
    tf = frameworks.import_tensorflow()
    norm = tf.linalg.global_norm(gradients)
    scale = STEEPEST / tf.maximum(norm, STEEPEST)
    is_finite = tf.math.is_finite(norm)
    return [tf.where(is_finite, each * scale, tf.zeros_like(each)) for each in gradients]


def cool_down(done: float, epochs: int) -> float:
    """Return the share of the cool-down that is left after ``done`` epochs; 1 until it begins."""
    return min(1.0, max(0.0, (epochs - done) / (COOL_DOWN * epochs)))
