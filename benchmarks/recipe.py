"""The usual recipe, as a hundred tutorials have it, but that it saves its figure."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import cv2
import matplotlib as mpl
import numpy as np

from daemon.assets import SHIPPED_MODEL

if TYPE_CHECKING:
    from pathlib import Path

_WARM_UP = 5  # the first `predict` compiles, the first figure finds its fonts


def files_per_second(folder: Path, count: int) -> float:
    """Read ``digit1.png`` and on one by one: imread, invert, predict, imshow, savefig."""
    import keras  # noqa: PLC0415 - seconds, and only this benchmark needs it

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the choice of backend

    model = keras.saving.load_model(SHIPPED_MODEL, compile=False)
    started = 0.0
    for number in range(1, _WARM_UP + count + 1):
        if number == _WARM_UP + 1:
            started = time.perf_counter()
        pixels = cv2.imread(str(folder / f"digit{number}.png"))[:, :, 0]  # type: ignore[index]
        inverted = np.invert(np.array([pixels]))
        prediction = model.predict(inverted[..., None] / 255.0, verbose=0)
        plt.imshow(inverted[0], cmap="binary")
        plt.title(f"This digit is probably a {np.argmax(prediction)}")
        plt.savefig(folder / f"figure{number}.jpg")
        plt.close()
    return count / (time.perf_counter() - started)
