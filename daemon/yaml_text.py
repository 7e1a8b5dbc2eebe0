"""Parse the text of config.yaml: settings with their lines, and messages about what is not YAML."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml

from daemon.errors import ConfigError
from daemon.pattern import correct
from daemon.text import escape, has_half

_SHOWN = 40  # characters of a line
_QUOTES = "\"'"
# What constructors raise for values such as 2026-13-01 or !!float x, besides YAMLError.
_VALUE_ERRORS = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError)
# Where PyYAML's second mark says where the fault is: the first is where it noticed.
_BEGUN = re.compile(r"quoted scalar|flow|simple key")
# By what PyYAML says; the first that is found.
_REMEDIES = (
    (r"'\\t'", "it has a tab: write spaces"),
    (r"alias|anchor", "* and & have a meaning in YAML: put the value in quotes"),
    (r"escape", "\\ has a meaning between double quotes: use single quotes"),
    (r"quoted scalar", "its quote is not closed: close it"),
    (r"flow", "its bracket is not closed: close it, or put the value in quotes"),
    (r"expected ':'", "it is no `key: value`: write a colon and a space after the key"),
    (
        r"mapping values",
        (
            "it has a second colon, or spaces before the key, or no space after the colon above: "
            "correct that, or put the value in quotes"
        ),
    ),
    (r"tag", "! has a meaning in YAML: put the value in quotes"),
    (r"(single|another) document", "there is only one document in a config: remove it"),
    (r"start any token", "its first character has a meaning in YAML: put the value in quotes"),
    (r"", "it is no `key: value`: write one a line, without spaces before the key"),
)


@dataclass(frozen=True, slots=True)
class Parsed:
    """The settings of a config, and the number of each key's line."""

    settings: dict[Any, Any]
    lines: dict[str, int]


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, which also refuses duplicate keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - the signature is PyYAML's
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        if len(mapping) != len(node.value):
            raise ValueError("a key is set twice")
        return mapping


def parse(file: Path, data: bytes) -> Parsed:
    """Return the settings in the text of a config file.

    Raises:
        ConfigError: it is no text, not YAML, or no mapping; the message names file and line.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{file}: line {number} cannot be read, as it is not UTF-8: make it a text file in "
            "UTF-8"
        ) from None
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            return Parsed({}, {})
        if not isinstance(root, yaml.MappingNode):
            shown = _format_line(text[root.start_mark.index : root.end_mark.index])
            raise ConfigError(
                f"{file}: line {_line_of(root)}: expected lines of `key: value`, found {shown}"
            )
        return _construct(file, loader, root, text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{file} is not valid YAML: {_describe(text, error)}") from None
    except RecursionError:
        raise ConfigError(f"{file}: it has too many brackets in each other: remove them") from None


def _construct(file: Path, loader: _Loader, root: yaml.MappingNode, text: str) -> Parsed:
    """Return the settings of a mapping.

    Raises:
        ConfigError: a key is set twice or no word, or a value cannot be made.
    """
    parsed = Parsed({}, {})
    for key_node, value_node in root.value:
        key, line = key_node.value, _line_of(key_node)
        if not isinstance(key_node, yaml.ScalarNode):
            raise ConfigError(
                f"{file}: line {line}: a key is a word, not a list: write `key: value`"
            )
        if has_half(key):
            raise ConfigError(
                f"{file}: line {line}: {escape(key)}: a key is a word, and this is half of a "
                "character: write `key: value`"
            )
        if key in parsed.lines:
            raise ConfigError(
                f"{file}: line {line}: {escape(key)} is set twice, first in line "
                f"{parsed.lines[key]}: remove one"
            )
        try:
            value = loader.construct_object(value_node, deep=True)
        except (yaml.YAMLError, *_VALUE_ERRORS):
            shown = _format_line(text[value_node.start_mark.index : value_node.end_mark.index])
            raise ConfigError(
                f"{file}: line {line}: {escape(key)}: {shown} is no value in YAML: correct it, or "
                "put it in quotes"
            ) from None
        parsed.settings[key], parsed.lines[key] = value, line
    return parsed


def _line_of(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _format_line(text: str) -> str:
    """Return the start of a text's first line."""
    line = text.strip().partition("\n")[0].strip()
    return escape(line[:_SHOWN]) + ("…" if line[_SHOWN:] else "")


def _describe(text: str, error: yaml.YAMLError) -> str:
    """Return the line of an error, what is wrong with it, and what to do."""
    if isinstance(error, yaml.reader.ReaderError):
        number = text.count("\n", 0, error.position) + 1
        return (
            f"line {number}: it has the character U+{ord(text[error.position]):04X}, which YAML "
            "does not allow: remove it"
        )
    lines = text.splitlines() or [""]
    hint = (
        _describe_indent(lines, error)
        or _describe_pattern(lines, error)
        or _describe_regex(lines, error)
    )
    if hint:
        return hint
    said = " ".join(
        str(each) for each in (getattr(error, "context", ""), getattr(error, "problem", "")) if each
    )
    name = "context_mark" if _BEGUN.search(said) else "problem_mark"
    mark = getattr(error, name, None) or getattr(error, "problem_mark", None)
    number = min(mark.line if mark else 0, len(lines) - 1)
    remedy = next(remedy for pattern, remedy in _REMEDIES if re.search(pattern, said))
    return f"line {number + 1}: {_format_line(lines[number])}: {remedy}"


def _describe_indent(lines: Sequence[str], error: yaml.YAMLError) -> str:
    """Return a message if the first key is indented and a later one is less; else nothing."""
    if "expected '<document start>'" not in str(getattr(error, "problem", "")):
        return ""
    content = (
        (number, line)
        for number, line in enumerate(lines)
        if line.strip() and not line.lstrip().startswith(("#", "---", "%"))
    )
    number, line = next(content, (0, ""))
    if not line.startswith(" "):
        return ""
    return f"line {number + 1}: {_format_line(line)}: it begins with spaces: remove them"


def _describe_pattern(lines: Sequence[str], error: yaml.YAMLError) -> str:
    """Return a message if the error is in an unquoted glob, such as ``*.jpg``; else nothing."""
    marks = (getattr(error, name, None) for name in ("context_mark", "problem_mark"))
    wrong = {mark.line for mark in marks if mark is not None}
    for number, line in enumerate(lines):
        if line.startswith("pattern:"):
            value = [line.removeprefix("pattern:")]
            value += takewhile(lambda one: re.match(r"\s+\S|-", one), lines[number + 1 :])
            if wrong.isdisjoint(range(number, number + len(value))):
                continue
            items = [re.sub(r"^\s*-\s|\s#.*", "", one).strip() for one in value]
            text = re.sub(r"^\[(.*)\]$", r"\1", " ".join(items).strip())
            if re.search(r"[*?.]", text):
                return (
                    f"line {number + 1}: pattern: {text}: a glob needs quotes, because * and "
                    f"others have a meaning in YAML: write pattern: {correct(text)}"
                )
    return ""


def _describe_regex(lines: Sequence[str], error: yaml.YAMLError) -> str:
    """Return a message if the error is in an unquoted regular expression, or an escape in one."""
    number = getattr(getattr(error, "problem_mark", None), "line", -1)
    found = re.match(r"expect:\s*(\S+)", lines[number]) if 0 <= number < len(lines) else None
    if not found:
        return ""
    return (
        f"line {number + 1}: expect: {found[1]}: a regular expression needs single quotes, because "
        f"[, \\ and others have a meaning in YAML: write expect: '{found[1].strip(_QUOTES)}'"
    )
