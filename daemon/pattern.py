"""The key ``pattern``: which file names are read, and how to write what people write wrongly."""

import fnmatch
import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence

from daemon.text import has_half

IMAGES = "images"  # in place of a glob: every name with one of these endings, in any case
# The formats of the last line are not read. Their files get a row that says what they are.
ENDINGS = (
    *("png", "jpg", "jpeg", "jpe", "jfif", "bmp", "dib", "gif", "webp", "tif", "tiff"),
    *("heic", "heif", "hif", "avif"),
    *("jxl", "pdf"),
)
_IMAGES = rf"(?ais:.+\.(?:{'|'.join(ENDINGS)}))\Z"

_SAY_IMAGES = frozenset({"image", "image/*", IMAGES})
_SET = r"\[!?\]?[^]]*\]"  # [0-9], [!a], [,]
_OUTSIDE = r"(?![^\[]*\])"  # not in a set
_SEPARATED = re.compile(rf"(?:[,;|\s，、；]|(?<=\s)(?:and|or|&|\+)(?=\s))+{_OUTSIDE}")  # noqa: RUF001
# Quotes of word processors and of shells, which YAML does not take for quotes.
_QUOTES = "\"'`“”„‟‘’‚«»"  # noqa: RUF001
_LIST_IN_SET = re.compile(r"\[(\w{2,}(?:[,|] ?\w{2,})+)\]")
_BRACES = re.compile(r"[@?*+!]?(?:\{([^{}]*,[^{}]*|\w+)\}|\(([^()]*)\))")
_SLASH_IN_SET = re.compile(r"\[[^]]*/[^]]*\]")
_CLASS = re.compile(r"\[:(\w+):\]")  # of shells, in a set
_CLASSES = {"digit": "0-9", "alpha": "a-zA-Z", "alnum": "0-9a-zA-Z", "lower": "a-z", "upper": "A-Z"}
_ENDING = re.compile(r"\.[A-Za-z]\w{1,4}$")
_PATH = re.compile(r"[/\0]|^[A-Za-z]:\\")
# What regular expressions have and globs don't.
_REGEX = re.compile(r"\\|^\^|\$$|^\.[*+]|[\])][+]")
_REGEX_TO_GLOB = (
    (re.compile(r"^\^|\$$"), ""),
    (re.compile(r"\\d"), "[0-9]"),
    (re.compile(r"\]\+"), "]*"),
    (re.compile(r"(?:\\[wS]|(?<!\\)\.)[+*]"), "*"),
    (re.compile(r"\\(.)"), r"\1"),
)
_ANY = f"*.{ENDINGS[0]}"
_LONGEST_NAME = 255  # bytes


def compile_globs(globs: Sequence[str]) -> Callable[[str], bool]:
    """Return a function that returns whether a file name matches one of several globs.

    As in a shell, no glob matches names that begin with a dot. Uploads in progress (rsync,
    browsers) and digitd's own work folder have such names. Names are compared in Unicode's NFC:
    macOS sends é as e and an accent, and people type one character.
    """
    regexes = [
        _IMAGES if glob == IMAGES else fnmatch.translate(unicodedata.normalize("NFC", glob))
        for glob in globs
    ]
    match = re.compile("|".join(regexes)).match

    def matches(name: str) -> bool:
        if not name.isascii():
            name = unicodedata.normalize("NFC", name)
        return not name.startswith(".") and match(name) is not None

    return matches


def describe(globs: Sequence[str]) -> str:
    """Return the globs for a message."""
    images = f"{IMAGES} (.{ENDINGS[0]}, .{ENDINGS[1]} and so on)"
    return " or ".join(images if glob == IMAGES else glob for glob in globs)


def find_fault(glob: str) -> str:
    """Return why a glob matches no name, or not what was meant; empty if it is right."""
    if glob == IMAGES:
        return ""
    outside = re.sub(_SET, "", glob)
    never = "(?!)" in fnmatch.translate(glob)  # an empty range, such as [9-0]
    shortest = len(re.sub(r"\*", "", re.sub(_SET, "?", glob)))
    faults = {
        "it is empty": not glob,
        f"the word for images of all kinds is {IMAGES}": glob.lower() in _SAY_IMAGES,
        "a name is without its folder": _PATH.search(glob),
        "a name has at most 255 bytes": shortest > _LONGEST_NAME,
        "a glob has no classes such as [:digit:], but [0-9]": _CLASS.search(glob),
        "quotes of this kind belong to the name": glob.strip(_QUOTES) != glob,
        "a set such as [jp] is one character": _LIST_IN_SET.search(glob),
        "a glob has no braces": _BRACES.search(glob) and re.search(r"[,.|@+!][({]|[,|]", glob),
        "it is a regular expression": _REGEX.search(glob),
        "several globs are a list, and a space in a name is written [ ]": _is_list(glob),
        "an ending has a * before it": glob.lower().removeprefix(".") in ENDINGS,
        "names that begin with a dot are never read": glob.startswith((".", "[.]")),
        "it has half of a character": has_half(glob),
        "it has a space at an end": glob != glob.strip(),
        "a comma in a name is written [,]": "," in outside,
        "it has a [ without its ]": "[" in outside,
        "a set such as [0-9] begins with the lower one": never,
        "a glob excludes no names, and ! at the start is written ?": glob.startswith("!"),
    }
    return next((fault for fault, is_there in faults.items() if is_there), "")


def correct(text: str) -> str:
    """Return what was probably meant, as it is written in the config."""
    globs = list(dict.fromkeys(glob for one in _split(text) for glob in _correct(one)))
    if IMAGES in globs or not globs or any(map(find_fault, globs)):
        globs = [IMAGES] if IMAGES in globs else [_ANY]
    if globs == [IMAGES]:
        return IMAGES
    return json.dumps(globs[0] if len(globs) == 1 else globs, ensure_ascii=False)


def _is_list(text: str) -> bool:
    parts = _split(text)
    with_ending = [part for part in parts if _ENDING.search(part)]
    return len(parts) > 1 and (len(with_ending) > 1 or all(map(_is_like_glob, parts)))


def _is_like_glob(part: str) -> bool:
    is_ending = part.lower().removeprefix(".") in ENDINGS
    return is_ending or part == IMAGES or bool(_ENDING.search(part) or re.search(r"[*?]", part))


def _split(text: str) -> list[str]:
    """Return the parts of a text that are separated by commas or the like, without quotes."""
    text = _LIST_IN_SET.sub(lambda found: "{" + found[1].replace("|", ",") + "}", text)
    parts = [text] if _BRACES.search(text) else re.split(_SEPARATED, text)
    return [bare for part in parts if (bare := part.strip(f"{_QUOTES} \u00a0"))]


def _correct(glob: str) -> Iterator[str]:
    """Yield the globs that one probably means."""
    if glob.lower() in _SAY_IMAGES:
        yield IMAGES
        return
    glob = _SLASH_IN_SET.sub("?", glob)
    if _PATH.search(glob):
        glob = re.split(r"[/\0\\]", glob)[-1]
    glob = _CLASS.sub(lambda found: _CLASSES.get(found[1], ""), glob)
    if _REGEX.search(glob):
        for regex, replacement in _REGEX_TO_GLOB:
            glob = regex.sub(replacement, glob)
    if found := _BRACES.search(glob):
        for one in re.split(r"[,|]", found[1] or found[2] or ""):
            yield from _correct(f"{glob[: found.start()]}{one.strip()}{glob[found.end() :]}")
        return
    glob = re.sub(r"^!", "?", re.sub(r"\*{2,}", "*", glob.strip()))
    if glob.lower().removeprefix(".") in ENDINGS:
        glob = f"*.{glob.removeprefix('.')}"
    yield f"*{glob}" if glob.startswith(".") else glob
