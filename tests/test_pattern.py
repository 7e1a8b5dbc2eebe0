"""Patterns that people write wrongly: one line says what is wrong, and how to write it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from daemon.config import load
from daemon.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

BOTH = 'write ["*.png", "*.jpg"]'
BOTH_YAML = "line 2: pattern: *.png, *.jpg: a glob needs quotes"


def refusal(folder: Path, pattern: str) -> str:
    """Return the message about a pattern, without the file's name in front."""
    file = folder / "config.yaml"
    file.write_text(f"inbox: in\npattern: {pattern}\n")
    with pytest.raises(ConfigError) as raised:
        load(file)
    message = str(raised.value)
    assert message.startswith(f"{file}")
    assert "\n" not in message
    return message.removeprefix(f"{file}")


@pytest.mark.parametrize(
    ("pattern", "said", "right"),
    [
        ("*.jpg", "is not valid YAML: line 2: pattern: *.jpg: a glob needs", 'pattern: "*.jpg"'),
        ("*", "a glob needs quotes", 'write pattern: "*"'),
        ("*.png, *.jpg", BOTH_YAML, 'write pattern: ["*.png", "*.jpg"]'),
        ("[*.png, *.jpg]", BOTH_YAML, 'write pattern: ["*.png", "*.jpg"]'),
        ('"*.png", "*.jpg"', "a glob needs quotes", 'write pattern: ["*.png", "*.jpg"]'),
        ("\n  - *.png\n  - '*.jpg'", "a glob needs quotes", 'write pattern: ["*.png", "*.jpg"]'),
        ("[0-9]*.png  # digits", "a glob needs quotes", 'write pattern: "[0-9]*.png"'),
        ("*.{png,jpg}", "a glob needs quotes", 'write pattern: ["*.png", "*.jpg"]'),
        ("'*.png,*.jpg'", "but several globs are a list", BOTH),
        ("'*.png *.jpg'", "but several globs are a list", BOTH),
        ("'*.png; *.jpg'", "but several globs are a list", BOTH),
        ("'*.png|*.jpg'", "but several globs are a list", BOTH),
        ("|\n  *.png\n  *.jpg", "but several globs are a list", BOTH),
        ("'*.png & *.jpg'", "but several globs are a list", BOTH),
        ("'*.png、*.jpg'", "but several globs are a list", BOTH),
        ("“*.png”", "but quotes of this kind belong to the name", 'write "*.png"'),
        ("“*.png”, “*.jpg”", "but quotes of this kind belong to the name", BOTH),
        ("'*.[png,jpg]'", "but a set such as [jp] is one character", BOTH),
        ("'*.[png|jpg]'", "but a set such as [jp] is one character", BOTH),
        ("png, jpg", "but several globs are a list", BOTH),
        ("'*.{png,jpg}'", "but a glob has no braces", BOTH),
        ("'*.@(png|jpg)'", "but a glob has no braces", BOTH),
        ("{png, jpg}", "but braces make no list", BOTH),
        (".png", "but an ending has a * before it", 'write "*.png"'),
        ("[PNG]", "but an ending has a * before it", 'write "*.PNG"'),
        ("'.*\\.png'", "but it is a regular expression", 'write "*.png"'),
        ("'^digit\\d+\\.png$'", "but it is a regular expression", 'write "digit[0-9]*.png"'),
        ("inbox/*.png", "but a name is without its folder", 'write "*.png"'),
        ("'C:\\scans\\*.png'", "but a name is without its folder", 'write "*.png"'),
        ("Images", "but the word for images of all kinds is images", "write images"),
        ("image/*", "but the word for images of all kinds is images", "write images"),
        ("['*', '!*.tmp']", "but a glob excludes no names", 'write "?*.tmp"'),
        ("'*.png '", "but it has a space at an end", 'write "*.png"'),
        ("'[.]*'", "but names that begin with a dot are never read", 'write "*.png"'),
        ("'[[:digit:]]*.png'", "but a glob has no classes such as", 'write "[0-9]*.png"'),
        ("'a[/]b*'", "but a name is without its folder", 'write "a?b*"'),
        (300 * "f", "but a name has at most 255 bytes", 'write "*.png"'),
        ('"\\uD800*"', "but it has half of a character", "write "),
        ("'digit[0-9.png'", "but it has a [ without its ]", "write "),
    ],
)
def test_wrong_pattern_gets_the_right_spelling(
    tmp_path: Path, pattern: str, said: str, right: str
) -> None:
    message = refusal(tmp_path, pattern)
    assert said in message
    assert message.endswith(right) or (right == "write " and right in message)


@pytest.mark.parametrize(
    "glob",
    [
        "Scan *.png",
        "Scan * Seite *.png",
        "{*}.png",
        "Foto (*).jpg",
        "v1.2 *.png",
        "digit(1)*",
        "a;b*",
    ],
)
def test_glob_with_unusual_characters_is_taken(tmp_path: Path, glob: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"pattern: '{glob}'\n")
    assert load(file).pattern == (glob,)


def test_key_that_is_set_twice_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("inbox: in\nbatch_size: 5\nworkers: 1\nbatch_size: 6\n")
    with pytest.raises(ConfigError, match="line 4: batch_size is set twice, first in line 2"):
        load(file)
