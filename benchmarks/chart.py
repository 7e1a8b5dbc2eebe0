"""The README's chart of files per second."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from pathlib import Path


def draw(rates: dict[str, float], file: Path) -> None:
    """Draw files per second as bars, one for each name."""
    figure = Figure(figsize=(7, 1.8), layout="constrained")
    axes = figure.add_subplot()
    bars = axes.barh(list(rates), list(rates.values()), color=["#999999", "#bbbbbb", "#00755e"])
    axes.bar_label(bars, fmt="%.0f", padding=4)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel(f"files per second, 28x28 PNGs, {os.cpu_count()} cores")
    axes.spines[["top", "right"]].set_visible(False)
    FigureCanvasAgg(figure)
    figure.savefig(file)
