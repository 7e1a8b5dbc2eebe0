"""`digitd learn` on an outbox of the real daemon: the candidate, its report, kills, mischief."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from daemon.assets import SHIPPED_MODEL
from daemon.errors import EX_CONFIG, EX_FOUND_WRONG, EX_TEMPFAIL
from daemon.locks import Lock
from daemon.models.folder import ModelsFolder
from daemon.outbox import labels
from daemon.outbox.labels import Answer
from daemon.reading import model
from support.daemon import DIGITD, ROOT, Box, Terminal, digitd, run_once
from support.waiting import DEADLINE_SECONDS, until

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.timeout(1800),  # three learnings and their imports take a minute on two idle cores
]

SMALL = Path(__file__).parent.parent / "data" / "mnist-small.npz"
SHORT = [sys.executable, "-m", "support.short_learning"]
COUNT = 60
LONG = 20 * DEADLINE_SECONDS


@dataclass(frozen=True)
class Answered:
    """A box whose drawings were read, with what each of them is."""

    box: Box
    truth: dict[str, str]

    def copy(self, folder: Path) -> Box:
        shutil.copytree(self.box.folder, folder)
        return Box(folder)

    def answer(self, box: Box, wrong: str = "", by: str = "Ana") -> None:
        """Answer all rows: right, every third wrong, or all with one digit."""
        given = []
        for number, row in enumerate(box.rows()):
            label = self.truth[row["file"]]
            if wrong == "third" and number % 10 < 3:
                label = str((int(label) + 1 + number % 8) % 10)
            elif wrong.isdigit():
                label = wrong
            given.append(
                Answer(
                    *(row["id"], row["sha256"], label, by, "2026-11-25T09:05:07.042Z"),
                    *(row["model"], row["digit"], row["confidence"], "queue"),
                )
            )
        labels.append_all(box.outbox, given)


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> Answered:
    return read_drawings(Box(tmp_path_factory.mktemp("answered")))


def read_drawings(box: Box) -> Answered:
    """Read the drawings of somebody who writes aslant, with the real daemon."""
    with np.load(SMALL) as digits:
        images, truth = digits["x_train"], digits["y_train"]
    named = {}
    for number, index in enumerate(np.random.default_rng(0).permutation(len(truth))[:COUNT]):
        wide = cv2.copyMakeBorder(images[index], 4, 4, 16, 16, cv2.BORDER_CONSTANT)
        slanted = cv2.warpAffine(wide, np.array([[1, 0.9, -16], [0, 1, 0]]), wide.shape[::-1])
        name = f"digit{number}.png"
        box.drop(name, cv2.imencode(".png", 255 - slanted)[1].tobytes())
        named[name] = str(int(truth[index]))
    run_once(box, DIGITD)
    return Answered(box, named)


@dataclass(frozen=True)
class Learnt:
    """A box with a candidate, and what a killed `learn` and the next one wrote."""

    box: Box
    killed: str
    left: list[str]
    finished: subprocess.CompletedProcess[str]

    @property
    def models(self) -> Path:
        return self.box.folder / "models"


@pytest.fixture(scope="module")
def learnt(answered: Answered, tmp_path_factory: pytest.TempPathFactory) -> Learnt:
    """Kill `learn` when the classifier has learnt, and call it again."""
    box = answered.copy(tmp_path_factory.mktemp("learnt") / "box")
    box.drop("scan.png", b"%PDF-1.4\n")
    run_once(box, DIGITD)
    replace(answered, truth={**answered.truth, "scan.png": "3"}).answer(box)
    models = box.folder / "models"
    command = [*SHORT, "learn", "--config", str(box.config)]
    with Terminal() as terminal:
        running = subprocess.Popen(
            command, cwd=ROOT, stdout=terminal.programs, stderr=terminal.programs
        )
        until(
            lambda: any(models.glob(".learning/*-classifier.npz")) or running.poll() is not None,
            lambda: f"the classifier's weights: {terminal.text}",
            seconds=LONG,
        )
        running.kill()
        running.wait()
    left = [each.id for each in ModelsFolder(models).entries()]
    finished = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=LONG, check=False
    )
    return Learnt(box, terminal.text, left, finished)


def test_killed_learning_shows_progress_and_leaves_no_model(learnt: Learnt) -> None:
    assert "classifier" in learnt.killed
    assert not learnt.left


def test_interrupted_learning_is_continued(learnt: Learnt) -> None:
    assert learnt.finished.returncode == 0, learnt.finished.stderr
    assert "classifier: continued" in learnt.finished.stdout
    lines = [line.partition(":") for line in learnt.finished.stderr.splitlines()]
    stages = [stage for stage, _, rest in lines if " of " not in rest]  # a line a minute follows
    assert stages == ["read", "check answers", "compile", "read again", "compare"]
    assert not (learnt.models / ".learning").exists()


def test_candidate_has_a_report_and_is_promoted(learnt: Learnt) -> None:
    (entry,) = ModelsFolder(learnt.models).entries()
    assert entry.report is not None
    assert not entry.report.reasons
    assert {one.name for one in entry.report.comparisons} == {
        "held-out answers",
        "digits",
        "numbers",
        "not a digit",
    }
    assert ("not learnt from", "1 whose file cannot be read") in entry.report.facts
    command = f"digitd model promote {entry.id} --config {learnt.box.config}"
    assert command in learnt.finished.stdout
    assert f"after: with {entry.id}; better: " in learnt.finished.stdout
    written = model.load(entry.path)
    assert written.settings.training["learnt"]["reads"] == "digit"
    promoted = digitd("model", "promote", entry.id, "--config", learnt.box.config)
    assert promoted.returncode == 0, promoted.stderr
    assert ModelsFolder(learnt.models).current() == entry.id


def test_line_reader_stays_where_digits_are_read(learnt: Learnt) -> None:
    (entry,) = ModelsFolder(learnt.models).entries()
    before, after = (model.read_file(path)[1] for path in (SHIPPED_MODEL, entry.path))
    assert after[model.LINE_MEMBER] == before[model.LINE_MEMBER]
    assert after[model.NETWORK_MEMBER] != before[model.NETWORK_MEMBER]


def test_only_the_last_stage_of_the_classifier_learns(learnt: Learnt) -> None:
    (entry,) = ModelsFolder(learnt.models).entries()
    before, after = read_weights(SHIPPED_MODEL), read_weights(entry.path)
    changed = {name for name, values in before.items() if (after[name] != values).any()}
    last = ("conv2d_4", "conv2d_5", "conv2d_6", "depthwise_conv2d", "dense")
    assert changed == {name for name in before if name.split("/")[1] in last}


def read_weights(file: Path) -> dict[str, NDArray[np.float32]]:
    """Return the arrays of the classifier that Keras has saved, by name."""
    names: list[str] = []
    with (
        zipfile.ZipFile(file) as archive,
        archive.open("model.weights.h5") as inner,
        h5py.File(inner) as weights,
    ):
        weights.visit(names.append)
        return {
            name: weights[name][()] for name in names if isinstance(weights[name], h5py.Dataset)
        }


# One process for both, because importing TensorFlow takes 10 s.
MISCHIEF = {"third": "disagree with what the other answers teach", "7": "answered 7 60 times"}


@pytest.fixture(scope="module")
def misled(
    answered: Answered, learnt: Learnt, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Box]:
    """Learn from answers of which three in ten are wrong, and from those that are all 7."""
    folder = tmp_path_factory.mktemp("misled")
    boxes = {}
    for wrong in MISCHIEF:
        boxes[wrong] = box = answered.copy(folder / wrong)
        answered.answer(box, wrong)
        (box.folder / "models").mkdir()
        for known in learnt.models.glob(".*.regression.json"):
            shutil.copy(known, box.folder / "models")
    finished = subprocess.run(
        [*SHORT, *(str(box.config) for box in boxes.values())],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return boxes


@pytest.mark.parametrize("wrong", MISCHIEF)
def test_wrong_answers_make_no_model_to_promote(misled: dict[str, Box], wrong: str) -> None:
    box = misled[wrong]
    (entry,) = ModelsFolder(box.folder / "models").entries()
    assert any(MISCHIEF[wrong] in each for each in entry.reasons), entry.reasons
    promoted = digitd("model", "promote", entry.id, "--config", box.config)
    assert promoted.returncode == EX_FOUND_WRONG
    assert MISCHIEF[wrong] in promoted.stderr


def test_second_learning_of_the_same_models_is_refused(answered: Answered, tmp_path: Path) -> None:
    box = answered.copy(tmp_path / "box")
    answered.answer(box)
    work = box.folder / "models" / ".learning"
    work.mkdir(parents=True)
    lock = Lock(work / "lock")
    lock.take()
    refused = digitd("learn", "--config", box.config)
    lock.release()
    assert refused.returncode == EX_TEMPFAIL, refused
    assert "another `digitd learn` is at work here" in refused.stderr


def test_faults_are_one_line(answered: Answered, tmp_path: Path) -> None:
    box = answered.copy(tmp_path / "box")
    few = digitd("learn", "--config", box.config)
    assert (few.returncode, few.stderr.count("\n")) == (EX_FOUND_WRONG, 1)
    assert "too few answers to learn from: 0, and at least 8" in few.stderr
    answered.answer(box)
    shutil.rmtree(box.outbox / "originals")
    gone = digitd("learn", "--config", box.config)
    assert f"{COUNT} without an original" in gone.stderr
    box.configure(outbox="nowhere")
    missing = digitd("learn", "--config", box.config)
    assert (missing.returncode, missing.stderr.count("\n")) == (EX_CONFIG, 1)
    assert "nowhere does not exist" in missing.stderr


def test_no_tensorflow_says_what_to_do(answered: Answered, tmp_path: Path) -> None:
    box = answered.copy(tmp_path / "box")
    answered.answer(box)
    program = (
        "import sys; sys.modules['tensorflow'] = None; from daemon.cli import main; "
        f"main(['learn', '--config', {str(box.config)!r}])"
    )
    refused = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert refused.returncode == EX_FOUND_WRONG
    assert refused.stderr.startswith("digitd: tensorflow is not installed")
    assert "or learn on another machine with a copy of the outbox" in refused.stderr
