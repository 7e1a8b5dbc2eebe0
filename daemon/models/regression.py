"""Compare two models on the regression pack, through the whole reader."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from daemon import __version__, files
from daemon.models import packs
from daemon.models.packs import Case
from daemon.models.report import Comparison
from daemon.reading import reader
from daemon.reading.model import Model
from daemon.records import Reads, Status

_MAX_MEGAPIXELS = 1  # the pack's images are small
_BATCH = 16  # images between two reports of progress


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What one model gets right in the regression pack.

    Attributes:
        model: the model's short hash.
        right: (N,) bool, in the order of the pack's cases.
        is_read: (N,) bool; a model without a line reader reads no case of ``reads: number``.
    """

    model: str
    right: NDArray[np.bool_]
    is_read: NDArray[np.bool_]


def count_cases() -> int:
    """Return the number of cases that ``measure`` reads."""
    return len(packs.load_regression().cases)


def compare(
    before: Model,
    after: Model,
    on_progress: Callable[[int], None] = lambda _: None,
    cache: Path | None = None,
) -> tuple[Comparison, ...]:
    """Compare two models on the regression pack.

    Args:
        before: the model in use.
        after: the candidate.
        on_progress: called with the number of cases that were read since the last call; in all,
            twice ``count_cases()``.
        cache: a folder where the outcomes of ``before`` are kept for the next time.

    Returns:
        One comparison for each group that both models can read. A digit or a number is right if
        the text is, also if the reading is ``unsure``; what is not a digit, if it is not ``ok``.
    """
    return compare_outcomes(measure(before, on_progress, cache), measure(after, on_progress))


def compare_outcomes(before: Outcomes, after: Outcomes) -> tuple[Comparison, ...]:
    """Return a comparison for each group that both models can read."""
    groups = np.array([case.group for case in packs.load_regression().cases])
    both = before.is_read & after.is_read
    comparisons = []
    for group in packs.GROUPS:
        of = both & (groups == group)
        if of.any():
            old, new = before.right[of].tolist(), after.right[of].tolist()
            comparisons.append(Comparison.count(group, old, new))
    return tuple(comparisons)


def measure(
    model: Model, on_progress: Callable[[int], None] = lambda _: None, cache: Path | None = None
) -> Outcomes:
    """Return what a model gets right in the regression pack.

    Args:
        model: read with in this process, by one thread.
        on_progress: called with the number of cases that were read since the last call.
        cache: a folder where the outcomes are kept, and looked up first.
    """
    cases = packs.load_regression().cases
    if cache is not None and (known := load_outcomes(cache, model.hash)) is not None:
        on_progress(len(cases))
        return known
    is_read = np.array([each.reads is Reads.DIGIT or model.read_line is not None for each in cases])
    right = np.zeros(len(cases), np.bool_)
    for start in range(0, len(cases), _BATCH):
        batch = range(start, min(start + _BATCH, len(cases)))
        for index in batch:
            right[index] = is_read[index] and _is_right(model, cases[index])
        on_progress(len(batch))
    outcomes = Outcomes(model.hash, right, is_read)
    if cache is not None:
        files.replace_whole(_path(cache, model.hash), json.dumps(_describe(outcomes)).encode())
    return outcomes


def load_outcomes(cache: Path, model: str) -> Outcomes | None:
    """Return the outcomes of a model, by its hash, that ``measure`` has kept in a folder.

    ``None`` if there are none, they are broken, or this digitd or its pack is another one.
    """
    try:
        stored = json.loads(_path(cache, model).read_bytes())
        right, is_read = (
            np.array([mark == "1" for mark in stored.pop(name)], np.bool_)
            for name in ("right", "is_read")
        )
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return None
    if stored != _reader_key() or {len(right), len(is_read)} != {count_cases()}:
        return None
    return Outcomes(model, right, is_read)


def _path(cache: Path, model: str) -> Path:
    return cache / f".{model}.regression.json"


def _is_right(model: Model, case: Case) -> bool:
    found = reader.find(model, case.image, case.reads, max_megapixels=_MAX_MEGAPIXELS)
    (verdict,) = reader.judge_all(model, [found])
    if case.group == packs.NOT_A_DIGIT:
        return verdict.status is not Status.OK
    return verdict.text == case.text


def _describe(outcomes: Outcomes) -> dict[str, str]:
    return {
        **_reader_key(),
        "right": "".join(map(str, outcomes.right.astype(int))),
        "is_read": "".join(map(str, outcomes.is_read.astype(int))),
    }


def _reader_key() -> dict[str, str]:
    """Return what else than the model the outcomes depend on."""
    return {"digitd": __version__, "pack": packs.load_regression().hash}
