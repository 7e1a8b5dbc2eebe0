"""The network while it learns: one step, averaged weights, checkpoints."""

# Keras and TensorFlow ship no types.
# ruff: noqa: ANN401

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon.errors import DataError
from daemon.reading import model
from daemon.training import frameworks, network

STEPS = 400  # steps an epoch: 51,200 glyphs, a minute or two on two cores
# Peak learning rate and weight decay of AdamW (Loshchilov and Hutter 2019).
LEARNING_RATE, WEIGHT_DECAY = 2e-3, 0.01
WARM_UP = 0.5  # epochs until the peak is reached
# Share of the epochs over which the learning rate falls to zero. Until it starts to fall, a run
# can be resumed with another number of epochs (Hu et al. 2024, "WSD").
COOL_DOWN = 0.3
AVERAGED = 0.999  # share of the averaged weights that stays at each step (Polyak)
SMOOTHING = 0.05  # share of each label given to the other classes (Szegedy et al. 2016)


@dataclass(frozen=True, slots=True)
class Epoch:
    """The figures of one epoch; those of the averaged weights are measured on validation data."""

    epoch: int
    loss: float
    held_loss: float
    held_accuracy: float
    test_accuracy: float | None


class Learner:
    """A network that learns, its optimiser, and the network of its averaged weights."""

    def __init__(self, epochs: int, seed: int) -> None:
        self._epochs = epochs
        self._learning = network.build(seed, learning=True)
        self.network = network.build(seed)
        keras = frameworks.keras()
        self._optimizer = keras.optimizers.AdamW(LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        # Scales and offsets are not shrunk: that would fight what they are for.
        self._optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
        self._optimizer.build(self._learning.trainable_variables)
        self._taken = 0
        self._step = self._compiled()
        self._answer = network.forward(self.network)

    def _compiled(self) -> Any:
        keras, tf = frameworks.keras(), frameworks.tensorflow()
        loss_of = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=SMOOTHING)
        weights = self._learning.trainable_variables
        averaging = list(zip(self.network.weights, self._learning.weights, strict=True))

        @tf.function  # type: ignore[untyped-decorator]
        def step(glyphs: Any, labels: Any, keep: Any) -> Any:
            scaled = tf.cast(glyphs[..., None], tf.float32) / 255.0
            with tf.GradientTape() as tape:
                answers = self._learning(scaled, training=True)
                loss = loss_of(tf.one_hot(labels, model.CLASSES), answers)
            self._optimizer.apply(tape.gradient(loss, weights), weights)
            for average, weight in averaging:
                average.assign(keep * average + (1 - keep) * weight)
            return loss

        return step

    def step(self, glyphs: NDArray[np.uint8], labels: NDArray[np.int64]) -> float:
        """Learn from one batch; returns its loss."""
        tf = frameworks.tensorflow()
        self._optimizer.learning_rate.assign(self._rate())
        # A young average follows fast, or it would carry the first random weights for long.
        keep = min(AVERAGED, (1 + self._taken) / (10 + self._taken))
        self._taken += 1
        loss = self._step(tf.constant(glyphs), tf.constant(labels), tf.constant(keep, tf.float32))
        return float(loss)

    def _rate(self) -> float:
        done = self._taken / STEPS
        return LEARNING_RATE * min((done + 0.01) / WARM_UP, left(done, self._epochs))

    def logits(self, glyphs: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Answer glyphs (N, 28, 28) by the averaged weights: (N, 11) logits."""
        return self._answer(glyphs)

    def save(self, path: Path, history: list[Epoch]) -> None:
        """Save all that a resumed run needs, whole or not at all."""
        arrays: dict[str, Any] = {f"v{i}": v.numpy() for i, v in enumerate(self._variables())}
        whole = path.with_suffix(".part.npz")
        np.savez(
            whole,
            taken=self._taken,
            history=json.dumps([asdict(epoch) for epoch in history]),
            **arrays,
        )
        whole.replace(path)

    def restore(self, path: Path) -> list[Epoch]:
        """Take up a saved run; returns its history.

        Raises:
            DataError: there is none, or it is of another network.
        """
        try:
            with np.load(path) as arrays:
                for index, variable in enumerate(self._variables()):
                    variable.assign(arrays[f"v{index}"])
                self._taken = int(arrays["taken"])
                return [Epoch(**epoch) for epoch in json.loads(str(arrays["history"]))]
        except (OSError, KeyError, ValueError) as error:
            raise DataError(f"{path}: cannot be resumed from: {error}") from error

    def _variables(self) -> list[Any]:
        return [*self._learning.variables, *self._optimizer.variables, *self.network.weights]


def left(done: float, epochs: int) -> float:
    """Return the share of the cool-down that is left after so many epochs; 1 until it begins."""
    return min(1.0, max(0.0, (epochs - done) / (COOL_DOWN * epochs)))
