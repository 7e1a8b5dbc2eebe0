"""Adopt anybody's Keras classifier: make a model file of it, measure it, put it into a folder."""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon.assets import KNOWN_DIGIT, KNOWN_DIGIT_PNG, SHIPPED_MODEL
from daemon.errors import DataError, ModelError, UnreadableError
from daemon.invocation import command
from daemon.models import packs, regression
from daemon.models.folder import ModelsFolder
from daemon.models.report import Report
from daemon.reading import litert, model, reader
from daemon.reading.eye import Count
from daemon.reading.glyph import GLYPH, Bytes
from daemon.records import DIGITS, Reads
from daemon.text import count
from daemon.training import evaluate, keras_file, networks, wrapping
from daemon.training.calibration import fit_calibration, share_right
from daemon.training.evaluate import Case
from daemon.training.evaluate_outbox import is_outbox, list_answers
from daemon.training.wrapping import Head, Scaling

_SEARCHED = 1900  # digits on which the scalings are tried
# A network is surer on other people's digits than it should be. The temperatures that were fitted
# to the digits of the pack for networks that had learnt MNIST were 2 to 3.2; 1 is that of digits
# like those that it has learnt. Without these limits, a network that is too sure is more likely
# right with pixels that are too small, and is as good with pixels that are too large.
_TEMPERATURES = 1.0, 1.4, 2.0, 2.8
_TINY = 1e-9  # added to probabilities before their logarithm
# Nats by which the labels must be more likely with an unusual scaling than with a usual one.
_UNUSUAL = 0.05
_NOISE = 2.0  # standard errors within which two scalings are equally good
_EXAMPLES = 500  # glyphs on which the ranges for 8 bits are measured
_LOST_AT_MOST = 0.001  # share of the digits that 8 bits may cost
_FEWEST = 100  # digits to fit to
_MOST = 3000  # images of ``--data`` that are shown to the eye
_USELESS = 0.5  # a model that reads a smaller share right must not be promoted
_MAX_MEGAPIXELS = 50.0  # config.yaml's default
# "Not a digit" of a model without that class: this far below its lowest logit, as a share of their
# range, so that it costs the 8 bits little.
_BELOW = 0.25


@dataclass(frozen=True, slots=True)
class Examples:
    """What a model is fitted to, as the eye sees it.

    Attributes:
        name: of the source, for people.
        glyphs: (N, 28, 28) uint8.
        counts: (N, 4) float32, the eye's probabilities of each ``Count``.
        labels: (N,) int64, 0 to 9, and 10 for what is not a digit.
    """

    name: str
    glyphs: Bytes
    counts: NDArray[np.float32]
    labels: NDArray[np.int64]

    def select(self, which: NDArray[np.bool_] | slice) -> "Examples":
        """Return some of them."""
        return Examples(self.name, self.glyphs[which], self.counts[which], self.labels[which])

    @property
    def digits(self) -> "Examples":
        """Those that are digits."""
        return self.select(self.labels < DIGITS)


def load_pack() -> Examples:
    """Return the glyphs that ship with the program; no model is compared on them."""
    pack = packs.load_replay()
    return Examples("the pack that ships with digitd", pack.glyphs, pack.counts, pack.labels)


def load_data(path: Path, on_progress: Callable[[int], None] = lambda _: None) -> Examples:
    """Show at most 3,000 images of a set or a folder to digitd's eye.

    Args:
        path: see ``evaluate.list_cases``.
        on_progress: called with the number of images that were shown since the last call.

    Raises:
        DataError: see ``evaluate.list_cases``, or there are too few digits.
    """
    shipped = model.load(SHIPPED_MODEL)
    glyphs, counts, labels = [], [], []
    for case in list_cases(path):
        on_progress(1)
        with suppress(UnreadableError):
            image = reader.find_digit(shipped, case.load(), max_megapixels=_MAX_MEGAPIXELS)
            if image.doubt is None:
                glyphs.append(image.detection.glyph)
                counts.append(image.detection.counts)
                labels.append(int(case.label) if case.label.isdigit() else DIGITS)
    examples = Examples(
        path.name,
        np.array(glyphs, np.uint8).reshape(-1, GLYPH, GLYPH),
        np.array(counts, np.float32).reshape(-1, len(Count)),
        np.array(labels, np.int64),
    )
    _check_enough(path, len(examples.digits.labels))
    return examples


def list_cases(path: Path) -> list[Case]:
    """Return the cases of a set, a folder or an outbox that ``load_data`` shows to the eye.

    Raises:
        ConfigError: see ``evaluate_outbox.list_answers``.
        DataError: see ``evaluate.list_cases``, or there are too few digits.
    """
    if is_outbox(path):
        answered = list_answers(path, Reads.DIGIT)
        found = [*answered.sample, *answered.others]
    else:
        found = evaluate.list_cases(path)
    cases = [case for case in found if case.is_counted(Reads.DIGIT)]
    _check_enough(path, sum(case.text(Reads.DIGIT) is not None for case in cases))
    return cases[:: max(1, -(-len(cases) // _MOST))]


def _check_enough(path: Path, digits: int) -> None:
    if digits < _FEWEST:
        raise DataError(
            f"{path}: has {count(digits, 'image')} with one digit, too few to fit a model to: name "
            f"a set with at least {_FEWEST}, or omit --data"
        )


@dataclass(frozen=True, slots=True)
class Adopted:
    """An adopted model in its folder.

    Attributes:
        id: of the model.
        report: on it.
    """

    id: str
    report: Report


def adopt(
    path: Path,
    examples: Examples,
    folder: ModelsFolder,
    by: str = "adopt",
    pictures: Sequence[Path] = (),
    on_stage: Callable[[str, int], None] = lambda _, __: None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Adopted:
    """Make a model file of a Keras classifier, compare it with the shipped one, and keep it.

    Args:
        path: a ``.keras`` file.
        examples: what its scaling, its temperature and its threshold are fitted to.
        folder: where the model is put.
        by: which command, for the report.
        pictures: for the report.
        on_stage: called when a stage begins, with its name and its number of steps.
        on_progress: called with the number of steps since the last call.

    Raises:
        ModelError: the file is not such a classifier, has code in it, or cannot be compiled.
        MissingPackageError: Keras is not installed.
        OSError: the model cannot be written.
    """
    network = keras_file.load_classifier(path)
    head = wrapping.split_head(network)
    on_stage("finding the scaling of the input", len(list(wrapping.list_scalings())))
    try:
        scaling = find_scaling(head, examples.digits, on_progress)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    on_stage("compiling", 1)
    least = _choose_least(head, scaling, examples) if head.classes == DIGITS else 0.0
    wrapped = wrapping.wrap(head, scaling, least)
    compiled = _compile(wrapped, path, examples)
    settings = _fit(compiled, head.classes, examples)
    settings = replace(
        settings,
        training={"adopted": path.name, "classes": head.classes, "input": scaling.name},
        known_digit=_read_known_digit(path, compiled, settings),
    )
    with tempfile.TemporaryDirectory() as work:
        file = Path(work) / "adopted.keras"
        networks.save_with_classifier(SHIPPED_MODEL, wrapped, compiled.network, settings, file)
        on_progress(1)
        shipped, adopted = model.load(SHIPPED_MODEL), model.load(file)
        on_stage("comparing", 2 * regression.count_cases())
        cache = folder.path if folder.path.is_dir() else None
        comparisons = regression.compare(shipped, adopted, on_progress, cache)
        share = settings.scores["held_accuracy"]
        report = Report(
            made=datetime.now(UTC).isoformat(timespec="seconds"),
            by=by,
            parent=shipped.hash,
            comparisons=comparisons,
            facts=_describe(path, network, head, scaling, compiled, settings, examples),
            notes=_warn(head, settings),
            refusals=_refuse(share, examples),
            pictures=tuple(each.name for each in pictures),
        )
        for each in pictures:
            shutil.copy(each, work)
        return Adopted(folder.add(file, report), report)


def explain_use(adopted: Adopted, folder: ModelsFolder) -> str:
    """Return how to use an adopted model, as lines of text."""
    path = folder.path_of(adopted.id)
    promote = command(f"model promote {adopted.id}")
    ask = "" if adopted.report.reasons else f"{promote} puts it in use\n"
    return (
        f"wrote {path}\n{ask}"
        f"to use it whatever the comparison says, set `model: {path}` in config.yaml"
    )


def find_scaling(
    head: Head, digits: Examples, on_progress: Callable[[int], None] = lambda _: None
) -> Scaling:
    """Return how a classifier wants its pixels, and where the digits.

    It is the scaling with which the labels are most likely, or the most usual one of those that
    are about as good. The accuracy says less: the tutorials' network reads as many of
    these digits with pixels from 0 to 255 as with those from 0 to 1 that it has learnt from.

    Raises:
        ModelError: there is none, as with weights that are not numbers.
    """
    chosen = digits.select(slice(None, None, max(1, len(digits.labels) // _SEARCHED)))
    scalings = list(wrapping.list_scalings())
    losses = []
    for each in scalings:
        losses.append(_measure_losses(head, each, chosen))
        on_progress(1)
    tried = zip(scalings, losses, strict=True)
    finite = [(scaling, loss) for scaling, loss in tried if np.isfinite(loss).all()]
    if not finite:
        raise ModelError("its scores are not finite numbers: train it again")
    best = min((loss for _, loss in finite), key=np.mean)
    return next(
        scaling
        for scaling, loss in finite
        if np.mean(loss - best) <= _NOISE * np.std(loss - best) / np.sqrt(len(best))
    )


def _measure_losses(head: Head, scaling: Scaling, digits: Examples) -> NDArray[np.float32]:
    """Return the negative log likelihood of each label, (N,), nats, at the best temperature."""
    logits = wrapping.run(wrapping.wrap(head, scaling), digits.glyphs)[:, :DIGITS]
    number = np.arange(len(logits))
    losses = [
        -np.log(model.softmax(logits, temperature)[number, digits.labels] + _TINY)
        for temperature in _TEMPERATURES
    ]
    best: NDArray[np.float32] = min(losses, key=np.mean)
    return best if scaling.is_usual else best + np.float32(_UNUSUAL)


def _choose_least(head: Head, scaling: Scaling, examples: Examples) -> float:
    """Return the logit of "not a digit" for a classifier without that class."""
    logits = wrapping.run(wrapping.wrap(head, scaling), examples.glyphs)[:, :DIGITS]
    low, high = float(logits.min()), float(logits.max())
    return low - _BELOW * (high - low)


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A compiled classifier.

    Attributes:
        network: a LiteRT flatbuffer.
        precision: of its weights, for people.
    """

    network: bytes
    precision: str


def _compile(wrapped: Any, path: Path, examples: Examples) -> _Compiled:
    """Compile a classifier with 8 bits, or 32 where 8 bits read fewer digits right.

    Raises:
        ModelError: LiteRT cannot run it, or not as Keras does.
    """
    exact = wrapping.compile_float(wrapped, path)
    digits = examples.digits
    number = len(digits.labels)
    right = int((wrapping.run(wrapped, digits.glyphs).argmax(axis=1) == digits.labels).sum())
    if right - _count_right(exact, digits) > _LOST_AT_MOST * number:
        raise ModelError(
            f"{path}: LiteRT, which runs digitd's models, reads {_count_right(exact, digits)} of "
            f"{number} digits right, and Keras {right}: replace its unusual layers"
        )
    every = max(1, len(examples.labels) // _EXAMPLES)
    try:
        small = networks.compile_for_litert(wrapped, examples.glyphs[::every])
        lost = (right - _count_right(small, digits)) / number
    # What the converter and LiteRT raise for operations that they only have for 32 bits.
    except Exception:  # noqa: BLE001
        return _Compiled(exact, "32 bits: LiteRT cannot run it with 8")
    if lost > _LOST_AT_MOST:
        return _Compiled(exact, f"32 bits: with 8, {lost:.1%} fewer digits would be right")
    return _Compiled(small, "8 bits")


def _count_right(network: bytes, digits: Examples) -> int:
    logits = litert.load_classifier(network)(digits.glyphs)
    return int((logits.argmax(axis=1) == digits.labels).sum())


def _fit(compiled: _Compiled, classes: int, examples: Examples) -> model.Settings:
    """Fit temperature and threshold; the eye and the line reader keep the shipped calibration.

    A model without the class "not a digit" takes letters for digits, so its threshold would rule
    out every digit if it had to rule out letters: only digits count for it.
    """
    shipped, _, _ = model.read_file(SHIPPED_MODEL)
    used = examples.digits if classes == DIGITS else examples
    logits = litert.load_classifier(compiled.network)(used.glyphs)
    fitted = fit_calibration(logits, used.counts, used.labels, odds=(shipped.one_odds,))
    digits = used.labels < DIGITS
    return model.Settings(
        temperature=fitted.temperature,
        one_odds=fitted.one_odds,
        unsure_below=fitted.unsure_below,
        line=shipped.line,
        scores={
            "held_accuracy": share_right(logits[digits], used.labels[digits]),
            "held_calibration_error": fitted.calibration_error,
        },
    )


def _read_known_digit(path: Path, compiled: _Compiled, settings: model.Settings) -> str:
    """Return what a model reads in the known digit, which each worker reads at start.

    Raises:
        ModelError: it takes it for no digit.
    """
    shipped = model.load(SHIPPED_MODEL)
    forward = litert.load_classifier(compiled.network)
    adopted = replace(shipped, path=path, forward=forward, settings=settings)
    image = reader.find_digit(adopted, KNOWN_DIGIT_PNG.read_bytes(), max_megapixels=1)
    (verdict,) = reader.judge_all(adopted, [image])
    if verdict.text is None:
        raise ModelError(
            f"{path}: takes a clear {KNOWN_DIGIT} for no digit, whatever the scaling: digitd needs "
            'a classifier of digits, with "not a digit" as the last class if it has 11'
        )
    return verdict.text


def _describe(
    path: Path,
    network: Any,
    head: Head,
    scaling: Scaling,
    compiled: _Compiled,
    settings: model.Settings,
    examples: Examples,
) -> tuple[tuple[str, str], ...]:
    digits = len(examples.digits.labels)
    none = 'with "not a digit"' if head.classes > DIGITS else 'without "not a digit"'
    return (
        ("adopted from", path.name),
        ("network", f"{network.count_params():,} weights, {head.classes} classes, {none}"),
        ("its input", f"{scaling.name}, found with {examples.name}"),
        ("its digits", "centred as MNIST's" if scaling.is_moved else "centred as digitd's glyphs"),
        ("right there", f"{settings.scores['held_accuracy']:.1%} of {digits:,} digits"),
        ("compiled with", compiled.precision),
        ("temperature", f"{settings.temperature:.2f}"),
        ("unsure below", f"{settings.unsure_below:.0%}"),
        ("numbers", "still read by digitd's line reader"),
    )


_ABOUT_PACK = (
    "the comparison is on hard images, with pens, papers and styles that MNIST does not have: both "
    "models have fewer right than of MNIST"
)


def _warn(head: Head, settings: model.Settings) -> tuple[str, ...]:
    notes = [_ABOUT_PACK]
    if head.classes == DIGITS:
        notes.append(
            "it has no class for what is not a digit: only digitd's eye refuses letters and signs, "
            f'and "{packs.NOT_A_DIGIT}" above shows how many are taken for digits'
        )
    if settings.known_digit != KNOWN_DIGIT:
        notes.append(f"it reads a clear {KNOWN_DIGIT} as {settings.known_digit}")
    return tuple(notes)


def _refuse(share: float, examples: Examples) -> tuple[str, ...]:
    if share >= _USELESS:
        return ()
    reason = (
        f"with no scaling of its input it reads more than {share:.1%} of {examples.name} right: "
        "is it a classifier of digits, and are its classes 0 to 9 in this order?"
    )
    return (reason,)
