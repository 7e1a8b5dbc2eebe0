"""The table of all figures: which files count, what is met, and that each set has its kinds."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import table
from benchmarks.bars import RUNS, Bar, Figure, Run
from benchmarks.marks import __main__ as write_marks
from benchmarks.marks.kinds import KINDS as MARKS
from benchmarks.numbers.kinds import KINDS as NUMBERS
from benchmarks.pages.kinds import KINDS as PAGES
from benchmarks.pages.write import load
from benchmarks.styles.shapes import STYLES
from benchmarks.table import Answer, count, interval

SMALL = Path(__file__).parent.parent / "data" / "mnist-small.npz"
UNSEEN = ("pair", "letter", "blank", "noise", "word", "symbol")
KINDS: dict[str, Collection[str]] = {
    "numbers": NUMBERS,
    "marks": MARKS,
    "styles": STYLES,
    "pages": PAGES,
    "unseen": UNSEEN,
}

ANSWERS = [
    Answer("7,5", frozenset({"marks"}), "7,5", is_ok=True),
    Answer("71", frozenset({"close"}), "71", is_ok=True),
    Answer("72", frozenset({"close"}), "72", is_ok=False),
    Answer("73", frozenset({"close"}), "13", is_ok=True),
    Answer("none", frozenset({"close"}), "", is_ok=False),
    Answer("multi", frozenset({"close"}), "3", is_ok=True),
    Answer("ambiguous", frozenset({"close"}), "3", is_ok=True),
]


@pytest.mark.parametrize(
    ("figure", "expected"),
    [
        (Figure.RIGHT, (2, 3)),
        (Figure.OK, (2, 3)),
        (Figure.RIGHT_OF_OK, (1, 2)),
        (Figure.WRONG_AND_OK, (1, 3)),
        (Figure.NOT_OK, (1, 2)),
    ],
)
def test_each_figure_counts_its_files(figure: Figure, expected: tuple[int, int]) -> None:
    assert count(Bar("close", figure, traits=("close",)), ANSWERS) == expected
    assert count(Bar("all", figure, without=("marks",)), ANSWERS) == expected


def test_a_bar_is_met_at_its_very_share() -> None:
    assert Bar("drawings", Figure.RIGHT, 430 / 432).is_met(430, 432)
    assert not Bar("drawings", Figure.RIGHT, 430 / 432).is_met(429, 432)
    assert Bar("drawings", Figure.WRONG_AND_OK, most=1 / 432).is_met(1, 432)
    assert not Bar("drawings", Figure.WRONG_AND_OK, most=1 / 432).is_met(2, 432)
    assert Bar("drawings", Figure.RIGHT).is_met(0, 432) is None


def test_the_interval_is_wilsons() -> None:
    # Newcombe 1998, table I.
    assert interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert interval(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)


@pytest.mark.parametrize("run", [run for run in RUNS if run.source in KINDS], ids=lambda r: r.name)
def test_every_kind_of_a_set_has_a_figure(run: Run) -> None:
    named = {trait for bar in run.bars for trait in bar.traits}
    assert named | set(run.skipped) == set(KINDS[run.source])


def test_a_run_prints_its_figures(tmp_path: Path) -> None:
    for _ in write_marks.write(load(SMALL), tmp_path / "marks", 1, 7):
        pass
    arguments = [str(SMALL), str(tmp_path), "--only", "marks"]
    said = CliRunner().invoke(table.main, arguments)
    assert said.exit_code in {0, 1}, said.output
    printed = (tmp_path / "table.md").read_text()
    assert printed.startswith("`digitd evaluate ")
    for bar in next(run for run in RUNS if run.name == "marks").bars:
        assert f"| {bar.what} | {bar.figure} " in printed
    assert said.exit_code == ("**missed**" in printed)
    assert printed.strip() in said.output
    assert (tmp_path / "pictures" / "marks" / "mistakes.png").exists()
