"""Words and pictures of a training and of a measurement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.reading import model
from daemon.training import evaluate, plots

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.training.train import Epoch, Trained


def line(epoch: Epoch) -> str:
    """Say in one line what an epoch came to."""
    test = "" if epoch.test_accuracy is None else f", MNIST test {epoch.test_accuracy:.2%}"
    return (
        f"epoch {epoch.epoch}: loss {epoch.loss:.3f}, "
        f"validation {epoch.held_loss:.4f} {epoch.held_accuracy:.2%}{test}"
    )


def of_training(trained: Trained, out: Path, folder: Path) -> str:
    """Draw a training's pictures and say where everything is."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = [folder / "curves.png"]
    plots.curves(trained.history, pictures[0])
    if trained.test is not None:
        measured = evaluate.evaluate(model.load(out), evaluate.of(trained.test))
        pictures += drawn(measured, folder)
    settings = trained.settings
    return (
        f"wrote {out}: temperature {settings.temperature:.2f}, "
        f"unsure below {settings.unsure_below:.2f}\n"
        f"pictures: {', '.join(map(str, pictures))}"
    )


def of_evaluation(measured: evaluate.Evaluation) -> str:
    """Say all figures."""
    lines = []
    if measured.count:
        lines = [
            f"accuracy           {measured.accuracy:8.2%}  {measured.right} of {measured.count}",
            f"ok                 {measured.coverage:8.2%}  {measured.ok} of {measured.count}",
            f"ok and right       {measured.precision:8.2%}  {measured.ok_right} of {measured.ok}",
            f"calibration error  {measured.calibration_error:8.2%}",
        ]
    for label, (not_ok, count) in measured.refused.items():
        lines.append(f"{f'{label}, not ok':18} {not_ok / count:8.2%}  {not_ok} of {count}")
    lines += [
        f"  {digit}                {right / count:8.2%}  {right} of {count}"
        for digit, (right, count) in enumerate(measured.per_digit)
        if count
    ]
    return "\n".join(lines)


def drawn(measured: evaluate.Evaluation, folder: Path) -> list[Path]:
    """Draw confusion matrix, worst mistakes and examples; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{name}.png" for name in ("confusion", "mistakes", "examples")]
    for draw, file in zip((plots.confusion, plots.mistakes, plots.examples), files, strict=True):
        draw(measured, file)
    return files
