"""Which characters of a name or message are shown, and which cells would be formulas."""

from __future__ import annotations

import csv
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from daemon.text import cell, escape, escape_lines, printable

SEPARATORS = ",;|\t"
SIGNS = tuple("=+-@\uff1d\uff0b\uff0d\uff20")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("zwölf 七.png", "zwölf 七.png"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("bad \udcff\udc80", "bad \\xff\\x80"),
        ("\u2028\x85\x00", "\\u2028\\x85\\x00"),
        ("gnp.\u202e1tigid.png", "gnp.\\u202e1tigid.png"),
        ("\u2066a\u2069\u200e\u200f\u061c", "\\u2066a\\u2069\\u200e\\u200f\\u061c"),
        ("a\u200bb\u2060c\ufeffd\u00ad", "a\\u200bb\\u2060c\\ufeffd\\xad"),
        ("tag\U000e0041\U000e007f", "tag\\U000e0041\\U000e007f"),
        ("fill\u3164\u115f\u034f", "fill\\u3164\\u115f\\u034f"),
        ("\u00a0\u3000\u2003 .png", "\u00a0\u3000\u2003 .png"),
        ("می\u200cشود.png", "می\u200cشود.png"),
        ("क्\u200dष.png", "क्\u200dष.png"),
        (
            "👩\u200d🔬 ❤\ufe0f\u200d🔥 7\ufe0f\u20e3.png",
            "👩\u200d🔬 ❤\ufe0f\u200d🔥 7\ufe0f\u20e3.png",
        ),
        ("葛\U000e0100城.png", "葛\U000e0100城.png"),
        ("digit\u200c1\ufe0f.png", "digit\\u200c1\\ufe0f.png"),
        ("می\u200c\u200c\u200d.png", "می\u200c\\u200c\\u200d.png"),
        ("e\u0301.png", "e\u0301.png"),
    ],
)
def test_only_characters_that_mislead_are_escaped(name: str, shown: str) -> None:
    assert printable(name) == shown
    assert printable(shown) == shown


def test_no_control_or_format_character_of_unicode_is_shown() -> None:
    for number in [*range(0xD800), *range(0xE000, 0x110000)]:
        c = chr(number)
        if unicodedata.category(c) in {"Cc", "Cf", "Zl", "Zp"}:
            assert escape(f"a{c}b").isascii(), hex(number)


def test_lines_of_a_traceback_are_kept() -> None:
    assert escape_lines("one\ntwo \x1b[31m\n") == "one\ntwo \\x1b[31m\n"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("=1+1.png", "'=1+1.png"),
        (" =1", "' =1"),
        ("-3", "'-3"),
        ("19/10/2023", "19/10/2023"),
        ("-3 Grad.png", "'-3 Grad.png"),
        ("-1+1", "'-1+1"),
        ("a;=1.png", "a;'=1.png"),
        ('a;"=1".png', 'a;\'"=1".png'),
        ("a; -1|@b", "a;' -1|'@b"),
        ("\uff1d1", "'\uff1d1"),
        ("Müller, Anna-Lena; 7-8.png", "Müller, Anna-Lena; 7-8.png"),
        ("a;'=1.png", "a;'=1.png"),
    ],
)
def test_cell_stays_readable(text: str, written: str) -> None:
    assert cell(text) == written


@settings(deadline=None, max_examples=300)
@given(st.text(st.sampled_from([*SEPARATORS, *SIGNS, *" \"'a1"]), max_size=12))
@example(';"""=1')
@example('";=1')
def test_no_part_of_a_row_starts_a_formula(text: str) -> None:
    for separator in SEPARATORS:
        for quoted in (cell(text), '"' + cell(text).replace('"', '""') + '"'):
            for part in next(csv.reader([f"d0,{quoted},ok"], delimiter=separator)):
                is_number = part.lstrip("-").isdigit()
                assert is_number or not part.lstrip().startswith(SIGNS), (part, separator)
            for part in f"d0,{quoted},ok".split(separator):
                assert part.lstrip('-"').isdigit() or not part.startswith(SIGNS), part
