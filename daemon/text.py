"""Make names and messages safe to show: in a table, a log, a terminal, a page, a published name."""

import os
import re
import unicodedata

# Unicode's general categories whose characters are escaped
# (https://www.unicode.org/reports/tr44/#General_Category_Values):
#   Cc          control characters: they break lines and steer terminals
#   Cf          format characters: they reverse text (U+202E, U+2066), have no width (U+200B,
#               U+2060, U+FEFF), or are not seen at all (U+E0041)
#   Cs          surrogates: bytes of a name that are not UTF-8
#   Zl, Zp      line and paragraph separators
# All other categories stay: Zs has the spaces of other scripts (U+00A0, U+3000), Co private
# characters that macOS and Samba put into names, Cn emoji newer than this Python.
_ESCAPED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Fillers and unassigned characters that Unicode wants to be invisible (Default_Ignorable).
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u2065\u3164\uffa0\ufff0-\uffff"
    "\U000e0000-\U000e00ff\U000e01f0-\U000e0fff]"
)
# The joiners of Persian, Indic scripts and emoji, and variation selectors stay after a letter,
# mark or symbol that is not ASCII; after any other they would be invisible.
_JOINERS = re.compile("[\u200c\u200d\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_KEYCAP = "\u20e3"  # 7, a variation selector and this are one emoji

# Where a program that splits at one of several separators, or at all of them, would find a cell
# that starts a formula (https://owasp.org/www-community/attacks/CSV_Injection). Quotes and spaces
# before the sign would not stop it.
_SIGN = r'[\s"]*[=+\-@\uff1d\uff0b\uff0d\uff20]'
_INNER_FORMULA = re.compile(rf"(?<=[,;|\t])(?={_SIGN})")
_FORMULA = re.compile(_SIGN)


def printable(name: str) -> str:
    r"""Return a file name as it is shown and published.

    The name is as ``os.listdir`` returns it: bytes that are not UTF-8 are lone surrogates. They
    become ``\xff``, and a line break becomes ``\n``. A name that would be a formula where a
    spreadsheet splits it, such as ``a;=1.png``, becomes ``a;'=1.png``.
    """
    return _quote_inner(escape(os.fsencode(name).decode("utf-8", "backslashreplace")))


def escape(text: str) -> str:
    r"""Return one line of text; a character that must not be shown becomes, for example, ``\n``."""
    # Nearly all names. Without this, 4,000 rows needed 920,000 of the calls below.
    if text.isascii() and text.isprintable():
        return text
    around = zip(f" {text}", text, f"{text[1:]} ", strict=False)
    return "".join(
        c if _may_be_shown(before, c, after) else c.encode("unicode_escape").decode()
        for before, c, after in around
    )


def has_half(text: str) -> bool:
    """Return whether text has half of a character, a surrogate, which UTF-8 cannot encode."""
    return re.search(r"[\ud800-\udfff]", text) is not None


def escape_lines(text: str) -> str:
    """Return text with several lines, such as a traceback, escaped line by line."""
    return "\n".join(map(escape, text.split("\n")))


def cell(text: str) -> str:
    """Return text as a cell of CSV, before quoting: no part of it starts a formula."""
    text = _quote_inner(escape(text))
    return f"'{text}" if _FORMULA.match(text) else text


def count(number: int, noun: str, plural: str = "") -> str:
    """Return, for example, ``1 file`` or ``2 files``."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"


def _quote_inner(text: str) -> str:
    return _INNER_FORMULA.sub("'", text)


def _may_be_shown(before: str, c: str, after: str) -> bool:
    if _JOINERS.match(c):
        is_joined = not before.isascii() and unicodedata.category(before)[0] in "LMS"
        return is_joined or after == _KEYCAP
    return unicodedata.category(c) not in _ESCAPED and not _INVISIBLE.match(c)


def format_utc(time: str) -> str:
    """Return an ISO 8601 time in UTC to the minute, for people."""
    return f"{time[:16].replace('T', ' ')} UTC"
