"""Synthetic hands: people whose digits the shipped model finds hard, and other people can read.

A ``Hand`` is a person: for each digit one shape, several of them odd (``hand_shapes``), always the
same; with a slant, a size and a pen of their own. ``draw(hand, text, number)`` draws a digit or a
whole number as a PNG: drawing 7 of a hand is always the same bytes, and no two drawings are alike.
``write(hand, folder, count)`` writes ``count`` drawings, the ten digits in turn or numbers for a
hand of numbers, and returns their names and texts.

``DEVELOPMENT`` are the hands for choosing how ``digitd learn`` works, ``DEVELOPMENT_NUMBERS`` is
one whose numbers are misread. ``MEASURED`` and ``MEASURED_NUMBERS`` are for the measurement alone:
they have other oddities and other seeds, so don't look at them while you choose.

``python -m benchmarks.hands FOLDER [--hands development] [--each 30]`` writes a sheet of each hand
and prints what the shipped model makes of it.

They share no code and no strokes with training, and none with the other evaluation sets but paper
and pens.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import cv2
import numpy as np

from benchmarks import strokes
from benchmarks.hand_shapes import ODD, PLAIN, parse
from benchmarks.pages import ink, paper
from daemon.assets import SHIPPED_MODEL
from daemon.reading import model, reader
from daemon.records import DIGITS, Reads, Status

if TYPE_CHECKING:
    from numpy.random import Generator

    from benchmarks.hand_shapes import Array
    from daemon.reading.glyph import Bytes

_SMALL = 28  # px, the side of a paint program's canvas
_STEADINESS = 0.016  # of a digit's height, the deviation of a point of a stroke
_LONGEST = 6  # digits in a number


@dataclass(frozen=True, slots=True)
class Hand:
    """A person's hand.

    Attributes:
        name: for files and tables.
        odd: names of ``hand_shapes.ODD``; their first character is the digit. The other digits
            are plain.
        seed: of all drawings.
        slant: how far the top leans to the right, as a share of the height.
        aspect: a digit's width as a share of its height.
        pen: width of the line, as a share of a digit's height.
        tablet: share of the drawings made in a paint program; the others are on paper.
        reads: ``number`` for a hand that writes whole numbers.
        gap: between the digits of a number, as a share of the height; below 0 they overlap.
    """

    name: str
    odd: tuple[str, ...]
    seed: int
    slant: float = 0.0
    aspect: float = 0.65
    pen: float = 0.08
    tablet: float = 0.5
    reads: Reads = Reads.DIGIT
    gap: float = 0.1

    def shape(self, digit: int) -> list[Array]:
        """Return the strokes of a digit, (N, 2) each, in a unit box."""
        odd = [ODD[each] for each in self.odd if each.startswith(str(digit))]
        return parse(odd[0] if odd else PLAIN[digit])


def draw(hand: Hand, text: str, number: int) -> bytes:
    """Draw a digit or a number as a PNG.

    Args:
        hand: whose.
        text: digits only.
        number: of the drawing; the same one gives the same bytes.
    """
    chance = np.random.default_rng((hand.seed, number))
    lines = _place(hand, text, chance)
    if chance.random() < hand.tablet:
        pixels = _paint(hand, lines, chance)
    else:
        pixels = _photograph(hand, lines, chance)
    return cv2.imencode(".png", pixels)[1].tobytes()


def _place(hand: Hand, text: str, chance: Generator) -> list[Array]:
    """Return all strokes of a text, with a digit's height as the unit, from (0, 0) on."""
    lines: list[Array] = []
    end = 0.0
    for character in text:
        lean = hand.slant + chance.normal(0, 0.04)
        aspect = hand.aspect * np.exp(chance.normal(0, 0.08))
        turn = np.deg2rad(chance.normal(0, 3))
        size = np.exp(chance.normal(0, 0.05))
        to = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        to = size * to @ np.array([[aspect, -lean], [0, 1]])
        # A hand that shakes slowly moves strokes that meet alike.
        pull, phase = chance.normal(0, 4, (2, 2)), chance.uniform(0, 2 * np.pi, 2)
        digit = []
        for line in hand.shape(int(character)):
            moved = line + chance.normal(0, _STEADINESS, 2)
            digit.append((moved + 1.5 * _STEADINESS * np.sin(moved @ pull + phase)) @ to.T)
        left = min(float(line[:, 0].min()) for line in digit)
        gap = hand.gap * chance.uniform(0.5, 1.5) if lines else 0.0
        drop = chance.normal(0, 0.03)
        at = np.array((end + gap - left, drop))
        lines += [line + at for line in digit]
        end = max(float(line[:, 0].max()) for line in lines)
    low = np.concatenate(lines).min(axis=0)
    return [line - low for line in lines]


def _cover(
    lines: list[Array], shape: tuple[int, int], width: float, chance: Generator
) -> ink.Floats:
    """Return how much of each pixel a pen covers, (H, W) float32."""
    mask = np.zeros(shape, np.float32)
    for line in lines:
        strokes.add_stroke(chance, mask, line, width, wobble=0.25)
    return mask


def _fit(lines: list[Array], shape: tuple[int, int], tall: float, chance: Generator) -> list[Array]:
    """Return strokes scaled to a digit's height of ``tall`` px, near the middle of a page."""
    scaled = [line * tall for line in lines]
    size = np.concatenate(scaled).max(axis=0)
    free = np.maximum(np.array(shape[::-1]) - size, 0)
    at = np.clip(free / 2 + chance.normal(0, 0.08, 2) * tall, 0.1 * free, 0.9 * free)
    return [line + at for line in scaled]


def _paint(hand: Hand, lines: list[Array], chance: Generator) -> Bytes:
    """Return a drawing as of a paint program, (H, W) uint8."""
    size = np.concatenate(lines).max(axis=0)
    tall = float(chance.uniform(17, 22))
    if chance.random() < 1 / 4:
        tall *= chance.uniform(1.5, 5)
    tall /= max(1.0, float(size[1]))
    side = round(_SMALL * tall / 20)
    shape = max(side, round(size[1] * tall + 4)), max(side, round(size[0] * tall + 8))
    width = max(1.0, hand.pen * tall * chance.uniform(0.85, 1.2))
    mask = _cover(_fit(lines, shape, tall, chance), shape, width, chance)
    if tall < _SMALL and chance.random() < 1 / 2:
        mask = (mask > 0.45).astype(np.float32)  # a hard pencil
    light = chance.random() < 1 / 5  # white on black
    return np.rint(255 * mask if light else 255 - 255 * mask).astype(np.uint8)


def _photograph(hand: Hand, lines: list[Array], chance: Generator) -> Bytes:
    """Return a scan or photograph of paper, (H, W, 3) uint8 BGR."""
    size = np.concatenate(lines).max(axis=0)
    tall = float(chance.uniform(40, 110))
    margins = tall * chance.uniform(0.3, 1.0, 2)
    shape = round(size[1] * tall + margins[1]), round(size[0] * tall + margins[0])
    width = max(1.2, hand.pen * tall * chance.uniform(0.85, 1.2))
    mask = _cover(_fit(lines, shape, tall, chance), shape, width, chance)
    page = ink.lay(chance, paper.paper(chance, shape), mask, ink.random_pen(chance))
    page = page * np.linspace(1, chance.uniform(0.75, 1), shape[1], dtype=np.float32)[:, None]
    blurred = cv2.GaussianBlur(page, (0, 0), chance.uniform(0.3, 1.0))
    return np.clip(np.rint(blurred), 0, 255).astype(np.uint8)


def texts(hand: Hand, count: int) -> list[str]:
    """Return what a hand's first drawings say: the ten digits in turn, or numbers."""
    if hand.reads is Reads.DIGIT:
        return [str(number % DIGITS) for number in range(count)]
    return [_choose_number(np.random.default_rng((hand.seed, 0, each))) for each in range(count)]


def _choose_number(chance: Generator) -> str:
    """Return two to six digits."""
    length = int(chance.integers(2, _LONGEST, endpoint=True))
    return "".join(map(str, chance.integers(0, DIGITS, length)))


def name(hand: Hand, number: int) -> str:
    """Return the file name of a drawing."""
    return f"{hand.name}-{number:04}.png"


def write(hand: Hand, folder: Path, count: int) -> list[tuple[str, str]]:
    """Write a hand's first drawings into a folder; return each one's name and text."""
    named = [(name(hand, number), text) for number, text in enumerate(texts(hand, count))]
    for number, (file, text) in enumerate(named):
        (folder / file).write_bytes(draw(hand, text, number))
    return named


DEVELOPMENT = (
    Hand(
        "anna",
        ("0 Q", "1 looped", "3 bowl", "5 bare", "6 delta", "7 footed", "8 rings apart"),
        seed=11,
    ),
    Hand(
        "boris",
        ("1 roofed", "2 barred", "4 looped", "7 three bars", "8 boxes", "9 curled"),
        seed=12,
        slant=0.15,
        aspect=0.75,
        pen=0.1,
        tablet=0.3,
    ),
    Hand(
        "chloe",
        ("0 plus", "1 I", "3 two loops", "4 swoosh", "5 straight", "7 high bar"),
        seed=13,
        slant=-0.4,
        aspect=0.6,
        pen=0.06,
        tablet=0.8,
    ),
)
DEVELOPMENT_NUMBERS = Hand(
    "dora", ("1 looped", "4 looped", "7 footed"), seed=14, tablet=0.4, reads=Reads.NUMBER
)
MEASURED = (
    Hand(
        "xenia",
        ("0 spiral", "1 crossed", "2 tail down", "3 top loop", "8 small head"),
        seed=21,
        slant=0.1,
        tablet=0.6,
    ),
    Hand(
        "yusuf",
        ("1 double", "4 y", "6 alpha", "7 curled", "8 ribbon", "9 g loop"),
        seed=22,
        aspect=0.7,
        pen=0.09,
        tablet=0.4,
    ),
    Hand(
        "zofia",
        ("0 ribbon", "1 J", "3 loop tail", "4 tailed", "5 S", "6 snail", "7 loop foot"),
        seed=23,
        slant=0.25,
        aspect=0.6,
        pen=0.07,
    ),
)
MEASURED_NUMBERS = Hand(
    "wanda", ("1 crossed", "2 tail down", "7 curled"), seed=24, slant=0.1, reads=Reads.NUMBER
)
SETS = {
    "development": (*DEVELOPMENT, DEVELOPMENT_NUMBERS),
    "measured": (*MEASURED, MEASURED_NUMBERS),
}


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--hands", type=click.Choice(list(SETS)), default="development", show_default=True)
@click.option("--each", default=30, show_default=True, help="Drawings of each hand.")
def main(folder: Path, hands: str, each: int) -> None:
    """Write a sheet of each hand into FOLDER, and print what the shipped model makes of it."""
    folder.mkdir(parents=True, exist_ok=True)
    network = model.load(SHIPPED_MODEL)
    for hand in SETS[hands]:
        tiles, right, sure = [], 0, 0
        for number, text in enumerate(texts(hand, each)):
            image = draw(hand, text, number)
            found = reader.find(network, image, hand.reads, max_megapixels=1)
            (verdict,) = reader.judge_all(network, [found])
            right += verdict.text == text
            sure += verdict.text == text and verdict.status is Status.OK
            tiles.append(_frame(image, f"{text}: {verdict.text or '-'} {verdict.status}"))
        rows = [np.hstack(tiles[at : at + 10]) for at in range(0, each - each % 10, 10)]
        cv2.imwrite(str(folder / f"{hand.name}.png"), np.vstack(rows))
        click.echo(f"{hand.name}: {right} of {each} right, {each - sure} wrong or unsure")


def _frame(image: bytes, caption: str) -> Bytes:
    """Return a drawing in a frame of 128x148 px with a caption, (148, 128, 3) uint8."""
    pixels = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None  # noqa: S101 - it was encoded a moment ago
    scale = 120 / max(pixels.shape)
    small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    tile = np.full((148, 128, 3), 200, np.uint8)
    tile[24 : 24 + small.shape[0], 4 : 4 + small.shape[1]] = small
    cv2.putText(tile, caption, (4, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0))
    return tile


if __name__ == "__main__":
    main()
