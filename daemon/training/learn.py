"""Build a candidate from the model in use and people's answers: ``digitd learn``."""

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon import __version__
from daemon.errors import BusyError, DataError, ModelError
from daemon.files import open_replacement
from daemon.layout import LEARNING, MODEL_SUFFIX
from daemon.locks import Lock, is_held
from daemon.models import packs, regression
from daemon.models.folder import ModelsFolder
from daemon.models.packs import ReplayPack
from daemon.models.report import Comparison, Report
from daemon.reading import litert, model
from daemon.reading.glyph import GLYPH
from daemon.reading.model import Model
from daemon.records import Reads
from daemon.training import (
    consistency,
    frameworks,
    learn_report,
    lessons,
    networks,
    tuning,
)
from daemon.training.calibration import recalibrate
from daemon.training.corrections import FEWEST, Corrections, check_enough, weigh
from daemon.training.learn_report import Findings
from daemon.training.lessons import Lesson, Limits

_EXAMPLES = 300  # inputs on which the ranges for 8 bits are measured
_SAMPLES = 100  # answers to the random sample from which on the calibration is fitted again
_LOCK = "lock"  # in the folder of unfinished work
_REMEDY = "`digitd train` makes models that can learn"


@dataclass(frozen=True, slots=True)
class LearnCallbacks:
    """Callbacks that report progress.

    Attributes:
        on_stage: a stage begins: its name and its number of steps.
        on_progress: that many more steps are done.
        on_continued: a stage is not repeated: an interrupted call has finished it.
    """

    on_stage: Callable[[str, int], None]
    on_progress: Callable[[int], None]
    on_continued: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Task:
    """What is learnt, and from which model.

    Attributes:
        parent: the file of the model in use.
        corrections: the answers.
        reads: what the outbox's rows are read as.
        limits: see ``lessons.Limits``.
    """

    parent: Path
    corrections: Corrections
    reads: Reads
    limits: Limits


def learn(task: Task, folder: ModelsFolder, callbacks: LearnCallbacks) -> tuple[str, Report]:
    """Build a candidate and put it into the folder of models; return its id and its report.

    An interrupted call leaves the networks that it has finished in ``models/.learning``, and the
    next one continues with them if the answers and the model are the same.

    Raises:
        DataError: too little can be learnt from.
        ModelError: the parent cannot learn.
        MissingPackageError: TensorFlow is not installed.
        BusyError: another ``digitd learn`` uses the folder.
        OSError: something cannot be read or written.
    """
    parent = model.load(task.parent)
    with _work_folder(folder.path) as work:
        return _Learning(task, parent, folder, work, callbacks).run()


def check(task: Task, folder: ModelsFolder) -> None:
    """Check what ``learn`` needs, as far as that can be seen without TensorFlow.

    Raises:
        DataError: there are too few answers.
        DestinationError: no model can be put into the folder.
        ModelError: the parent cannot learn, or cannot be read.
        BusyError: another ``digitd learn`` uses the folder.
    """
    check_enough(task.corrections)
    folder.check_writable()
    model.load(task.parent)
    _read_networks(task.parent)
    if is_held(folder.path / LEARNING / _LOCK):
        raise _busy(folder.path)


@contextmanager
def _work_folder(models: Path) -> Iterator[Path]:
    """Yield the locked folder of unfinished work, and remove it if all goes well."""
    work = models / LEARNING
    work.mkdir(parents=True, exist_ok=True)
    lock = Lock(work / _LOCK)
    try:
        lock.take()
    except BusyError:
        raise _busy(models) from None
    try:
        yield work
        shutil.rmtree(work)
    finally:
        lock.release()


def _busy(models: Path) -> BusyError:
    return BusyError(f"{models}: another `digitd learn` is at work here: wait for it, or stop it")


@dataclass(frozen=True, slots=True)
class _Learning:
    """One call of ``learn``."""

    task: Task
    parent: Model
    folder: ModelsFolder
    work: Path
    callbacks: LearnCallbacks

    def run(self) -> tuple[str, Report]:
        corrections = self.task.corrections
        asked = [*corrections.usable, *(each.correction for each in corrections.waiting)]
        self.callbacks.on_stage("read", len(asked))
        seen = list(
            lessons.observe(
                self.parent, asked, self.task.reads, self.task.limits, self.callbacks.on_progress
            )
        )
        waiting = {each.correction.sha256 for each in corrections.waiting}
        counted = [each for each in seen if each.correction.sha256 not in waiting]
        trained = [each for each in counted if not each.correction.is_held_out]
        if len(trained) < FEWEST:
            raise DataError(
                f"{len(trained)} answered originals can be read, and at least {FEWEST} are needed: "
                "restore them from a backup, or answer more files on the review page"
            )
        replay = packs.load_replay()
        classifier, line = _load_networks(self.task.parent, self.work)
        said = self._cross_validate(classifier, seen, replay)
        # The other network stays: the answers are not what it reads.
        if self.task.reads is Reads.DIGIT:
            self._teach_classifier(classifier, trained, replay)
        else:
            self._teach_line(line, trained, replay)
        candidate = self._save(classifier, line, trained, replay, counted)
        after = model.load(candidate)
        self.callbacks.on_stage("read again", len(seen))
        again = lessons.read_again(
            after,
            [each.correction for each in seen],
            self.task.reads,
            self.task.limits,
            self.callbacks.on_progress,
        )
        findings = Findings(
            corrections=corrections,
            lessons=tuple(seen),
            after=tuple(again),
            said=said,
            regression=self._compare(after),
            settings=(self.parent.settings, after.settings),
        )
        report = learn_report.make_report(self.parent.hash, findings, self.work)
        return self.folder.add(candidate, report), report

    def _cross_validate(
        self, classifier: Any, seen: Sequence[Lesson], replay: ReplayPack
    ) -> dict[str, int]:
        """Return what the last layer says of each content with a digit.

        It has learnt from the other answers.
        """
        known = [(each, digit) for each in seen if (digit := each.digit()) is not None]
        self.callbacks.on_stage("check answers", 2)
        if not known:
            self.callbacks.on_progress(2)
            return {}
        labels = np.array([digit for _, digit in known], np.int64)
        features, replayed = tuning.extract_features(
            classifier, np.stack([each.glyph for each, _ in known]), replay.glyphs
        )
        self.callbacks.on_progress(1)
        parent = tuning.read_last_layer(classifier)
        share = tuning.LAST_LAYER_SHARE
        said = consistency.cross_validate(parent, features, labels, share, replayed)
        self.callbacks.on_progress(1)
        return {
            each.correction.sha256: int(one) for (each, _), one in zip(known, said, strict=True)
        }

    def _teach_classifier(
        self, classifier: Any, trained: Sequence[Lesson], replay: ReplayPack
    ) -> None:
        """Let the classifier learn, in place."""
        known = [(each, digit) for each in trained if (digit := each.digit()) is not None]

        def tune(weights: NDArray[np.float64]) -> None:
            tuning.tune_classifier(
                classifier,
                np.stack([each.glyph for each, _ in known]),
                np.array([digit for _, digit in known], np.int64),
                weights,
                replay.glyphs,
                self.callbacks.on_progress,
            )

        self._tune("classifier", classifier, known, tuning.GLYPH_SHARE, tuning.STEPS, tune)

    def _teach_line(self, line: Any, trained: Sequence[Lesson], replay: ReplayPack) -> None:
        """Let the line reader learn, in place."""
        known = [(each, text) for each in trained if (text := each.symbols()) is not None]

        def tune(weights: NDArray[np.float64]) -> None:
            strips = [(each.strip, symbols) for each, symbols in known]
            on_step = self.callbacks.on_progress
            tuning.tune_line(line, strips, weights, list(replay.strips()), on_step)

        self._tune("line reader", line, known, tuning.LINE_SHARE, tuning.LINE_STEPS, tune)

    def _tune(
        self,
        name: str,
        network: Any,
        known: Sequence[tuple[Lesson, object]],
        share: float,
        steps: int,
        tune: Callable[[NDArray[np.float64]], None],
    ) -> None:
        """Let a network learn, or load what an interrupted call has finished.

        Args:
            name: of the network, for people.
            network: learns in place.
            known: what teaches it; nothing happens without any.
            share: of the corrections in what is learnt from.
            steps: of the training.
            tune: trains the network, given the share of each correction.
        """
        if not known:
            return
        answers = sorted((each.correction.sha256, said) for each, said in known)
        text = repr((__version__, self.parent.hash, answers))
        key = hashlib.sha256(text.encode()).hexdigest()[:12]
        kept = self.work / f"{key}-{name.partition(' ')[0]}.npz"
        if kept.exists():
            with np.load(kept) as stored:
                network.set_weights([stored[each] for each in stored.files])
            self.callbacks.on_continued(name)
            return
        self.callbacks.on_stage(name, steps)
        tune(weigh([each.correction for each, _ in known], share))
        with open_replacement(kept) as file:
            np.savez(file, *network.get_weights())

    def _save(
        self,
        classifier: Any,
        line: Any,
        trained: Sequence[Lesson],
        replay: ReplayPack,
        counted: Sequence[Lesson],
    ) -> Path:
        """Compile, calibrate and write the candidate into the work folder."""
        self.callbacks.on_stage("compile", 1)
        _, members, _ = model.read_file(self.task.parent)
        compiled, compiled_line = members[model.NETWORK_MEMBER], members[model.LINE_MEMBER]
        if self.task.reads is Reads.DIGIT:
            glyphs = _draw(list(replay.glyphs))
            glyphs += [each.glyph for each in trained if each.glyph.any()]
            compiled = networks.compile_for_litert(classifier, glyphs)
        else:
            strips = _draw([strip for strip, _ in replay.strips()])
            strips += [each.strip for each in trained if each.strip.any()]
            compiled_line = networks.compile_for_litert(line, strips)
        self.callbacks.on_progress(1)
        settings = self._calibrate(litert.load_classifier(compiled), counted)
        whole = networks.Networks(
            classifier, compiled, members[model.EYE_MEMBER], line, compiled_line
        )
        out = self.work / f"candidate{MODEL_SUFFIX}"
        networks.save(whole, settings, out)
        return out

    def _calibrate(self, forward: litert.Forward, counted: Sequence[Lesson]) -> model.Settings:
        """Return the parent's settings, with another calibration if the sample allows one."""
        parent = self.parent.settings
        learnt = {"from": self.parent.hash, "answers": len(counted), "reads": self.task.reads}
        settings = replace(parent, training={**parent.training, "learnt": learnt})
        sampled = [each for each in counted if each.correction.is_sample]
        digits = [(each, each.digit()) for each in sampled]
        known = [(each, digit) for each, digit in digits if digit is not None]
        if self.task.reads is not Reads.DIGIT or len(known) < _SAMPLES:
            return settings
        logits = forward(np.stack([each.glyph for each, _ in known]))
        counts = np.stack([each.counts for each, _ in known])
        labels = np.array([digit for _, digit in known], np.int64)
        return recalibrate(settings, logits, counts, labels)

    def _compare(self, after: Model) -> tuple[Comparison, ...]:
        self.callbacks.on_stage("compare", 2 * regression.count_cases())
        on_progress = self.callbacks.on_progress
        return regression.compare(self.parent, after, on_progress, self.folder.path)


def _draw(inputs: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    """Return some of a network's inputs, always the same."""
    chosen = np.random.default_rng(0).permutation(len(inputs))[:_EXAMPLES]
    return [inputs[index] for index in chosen]


def _read_networks(path: Path) -> dict[str, bytes]:
    """Return the members of a model file that has the networks to learn with.

    Raises:
        ModelError: it has not.
    """
    _, members, _ = model.read_file(path)
    if networks.LINE_KERAS not in members:
        raise ModelError(f"{path}: cannot learn, it has no {networks.LINE_KERAS} inside: {_REMEDY}")
    return members


def _load_networks(path: Path, work: Path) -> tuple[Any, Any]:
    """Return the Keras classifier and line reader of a model file.

    Raises:
        ModelError: it has none.
    """
    members = _read_networks(path)
    keras = frameworks.import_keras()
    inner = work / networks.LINE_KERAS
    inner.write_bytes(members[networks.LINE_KERAS])
    try:
        # In safe mode and without compiling, no code in the file runs (CVE-2025-9905).
        classifier, line = (
            keras.saving.load_model(file, compile=False, safe_mode=True) for file in (path, inner)
        )
    # Keras passes on what its zip, JSON and HDF5 readers raise.
    except (ValueError, TypeError, KeyError, OSError, AttributeError) as error:
        raise ModelError(
            f"{path}: cannot learn, Keras cannot load it: {error}: {_REMEDY}"
        ) from error
    takes, gives = (None, GLYPH, GLYPH, 1), (None, litert.CLASSES)
    is_ours = isinstance(classifier.layers[-1], keras.layers.Dense)
    if (classifier.input_shape, classifier.output_shape) != (takes, gives) or not is_ours:
        raise ModelError(f"{path}: cannot learn, its classifier is built another way: {_REMEDY}")
    return classifier, line
