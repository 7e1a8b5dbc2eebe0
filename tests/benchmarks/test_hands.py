"""Synthetic hands: reproducible, varied, and what is measured is not what is developed with."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks import hand_shapes, hands
from benchmarks.hands import Hand
from daemon.records import Reads, is_number

ALL = [hand for those in hands.SETS.values() for hand in those]


def pixels(image: bytes) -> np.ndarray:
    decoded = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert decoded is not None
    return decoded


@pytest.mark.parametrize("hand", ALL, ids=lambda hand: hand.name)
def test_a_hand_draws_each_number_always_the_same_and_no_two_alike(hand: Hand) -> None:
    texts = hands.texts(hand, 10)
    drawn = [hands.draw(hand, text, number) for number, text in enumerate(texts)]
    assert drawn[7] == hands.draw(hand, texts[7], 7)
    assert len(set(drawn)) == 10
    assert all(np.ptp(pixels(image)) > 60 for image in drawn), "ink can be seen on each"
    assert all(image.shape[0] >= 20 for image in map(pixels, drawn))


def test_drawings_are_named_by_hand_and_number(tmp_path: Path) -> None:
    (hand, *_) = hands.DEVELOPMENT
    named = hands.write(hand, tmp_path, 12)
    assert named[0] == (f"{hand.name}-0000.png", "0")
    assert [text for _, text in named] == list("012345678901")
    assert {path.name for path in tmp_path.iterdir()} == {name for name, _ in named}


def test_a_hand_of_numbers_writes_numbers() -> None:
    for hand in ALL:
        if hand.reads is Reads.NUMBER:
            texts = hands.texts(hand, 60)
            assert all(is_number(text) for text in texts)
            assert {len(text) for text in texts} == {2, 3, 4, 5, 6}
            assert len(set(texts)) > 50
            assert texts[:20] == hands.texts(hand, 20), "more drawings change none of the first"


def test_the_measured_hands_have_other_oddities_and_seeds() -> None:
    assert all(name in hand_shapes.ODD for hand in ALL for name in hand.odd)
    assert len({hand.seed for hand in ALL}) == len(ALL)
    development = {name for hand in hands.SETS["development"] for name in hand.odd}
    measured = {name for hand in hands.SETS["measured"] for name in hand.odd}
    assert not development & measured


def test_an_odd_digit_is_drawn_in_its_own_way_only() -> None:
    hand = Hand("somebody", ("4 y",), seed=1)
    for digit in range(10):
        odd = hand_shapes.ODD["4 y"] if digit == 4 else hand_shapes.PLAIN[digit]
        for line, expected in zip(hand.shape(digit), hand_shapes.parse(odd), strict=True):
            assert np.array_equal(line, expected)
