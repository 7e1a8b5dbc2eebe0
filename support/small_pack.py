"""A part of the regression pack, so that a comparison takes a second."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from daemon.assets import REGRESSION_PACK
from daemon.models import packs

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

_EVERY = 24  # of the pack's cases one is kept


def use_small_pack(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let models be compared on one of 24 cases of the regression pack."""
    with np.load(REGRESSION_PACK, allow_pickle=False) as stored:
        arrays = dict(stored)
    for name in ("image", "group", "reads", "text"):
        arrays[name] = arrays[name][::_EVERY]
    file = folder / "regression.npz"
    np.savez(file, **arrays)
    monkeypatch.setattr(packs, "REGRESSION_PACK", file)
    packs.load_regression.cache_clear()
