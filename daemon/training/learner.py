"""A network while it learns: one step, averaged weights, checkpoints."""

# Keras and TensorFlow ship no types.
# ruff: noqa: ANN401

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon.errors import DataError
from daemon.training import frameworks

WEIGHT_DECAY = 0.01  # of AdamW (Loshchilov and Hutter 2019)
# Share of the epochs over which the learning rate falls to zero (Hu et al. 2024, "WSD"). A run
# that is resumed with more epochs rises again to the peak.
COOL_DOWN = 0.3
AVERAGED = 0.998  # share of the averaged weights that stays at each step (Polyak)


@dataclass(frozen=True, slots=True)
class Plan:
    """How a network learns.

    Attributes:
        build: returns the network; with ``learning=True`` for the network that learns.
        loss: of a batch: takes the network's answers and the targets.
        scaled: turns a batch of inputs, uint8, into what the network takes.
        rate: peak learning rate.
        steps: in an epoch.
        epochs: in all.
        seed: of the first weights.
    """

    build: Callable[..., Any]
    loss: Callable[..., Any]
    scaled: Callable[[Any], Any]
    rate: float
    steps: int
    epochs: int
    seed: int


class Learner:
    """A network that learns, its optimiser, and the network of its averaged weights.

    Attributes:
        plan: how it learns.
        network: of the averaged weights.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._learning = plan.build(plan.seed, learning=True)
        self.network = plan.build(plan.seed)
        keras = frameworks.keras()
        self._optimizer = keras.optimizers.AdamW(plan.rate, weight_decay=WEIGHT_DECAY)
        # Scales and offsets are not shrunk: that would fight what they are for.
        self._optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
        self._optimizer.build(self._learning.trainable_variables)
        self._taken = 0
        self._step = self._compiled()

    def _compiled(self) -> Any:
        tf = frameworks.tensorflow()
        weights = self._learning.trainable_variables
        averaging = list(zip(self.network.weights, self._learning.weights, strict=True))

        @tf.function(autograph=False)  # type: ignore[untyped-decorator]
        def step(inputs: Any, targets: Any, keep: Any) -> Any:
            with tf.GradientTape() as tape:
                answers = self._learning(self.plan.scaled(inputs), training=True)
                loss = self.plan.loss(answers, *targets)
            self._optimizer.apply(tape.gradient(loss, weights), weights)
            for average, weight in averaging:
                average.assign(keep * average + (1 - keep) * weight)
            return loss

        return step

    def step(self, inputs: NDArray[np.uint8], *targets: NDArray[Any]) -> float:
        """Learn from one batch; returns its loss."""
        tf = frameworks.tensorflow()
        self._optimizer.learning_rate.assign(self._rate())
        # A young average follows fast, or it would carry the first random weights for long.
        keep = min(AVERAGED, (1 + self._taken) / (10 + self._taken))
        self._taken += 1
        loss = self._step(
            tf.constant(inputs), tuple(map(tf.constant, targets)), tf.constant(keep, tf.float32)
        )
        return float(loss)

    def _rate(self) -> float:
        done = self._taken / self.plan.steps
        warm = (self._taken + 1) / (self.plan.steps / 2)  # half an epoch until the peak
        return self.plan.rate * min(warm, left(done, self.plan.epochs))

    def save(self, path: Path, history: list[dict[str, Any]]) -> None:
        """Save all that a resumed run needs, whole or not at all."""
        arrays: dict[str, Any] = {f"v{i}": v.numpy() for i, v in enumerate(self._variables())}
        whole = path.with_suffix(".part.npz")
        np.savez(whole, taken=self._taken, history=json.dumps(history), **arrays)
        whole.replace(path)

    def restore(self, path: Path) -> list[dict[str, Any]]:
        """Take up a saved run; returns its history.

        Raises:
            DataError: there is none, or it is of another network.
        """
        try:
            with np.load(path) as arrays:
                for index, variable in enumerate(self._variables()):
                    variable.assign(arrays[f"v{index}"])
                self._taken = int(arrays["taken"])
                return list(json.loads(str(arrays["history"])))
        except (OSError, KeyError, ValueError) as error:
            raise DataError(f"{path}: cannot be resumed from: {error}") from error

    def _variables(self) -> list[Any]:
        return [*self._learning.variables, *self._optimizer.variables, *self.network.weights]


def left(done: float, epochs: int) -> float:
    """Return the share of the cool-down that is left after so many epochs; 1 until it begins."""
    return min(1.0, max(0.0, (epochs - done) / (COOL_DOWN * epochs)))
