"""The key ``pattern``: which file names are read."""

import fnmatch
import re
import unicodedata
from collections.abc import Callable, Sequence

IMAGES = "images"  # in place of a glob: every name with one of these endings, in any case
# The formats of the last line are not read. Their files get a row that says what they are.
ENDINGS = (
    *("png", "jpg", "jpeg", "jpe", "jfif", "bmp", "dib", "gif", "webp", "tif", "tiff"),
    *("heic", "heif", "avif", "jxl", "pdf"),
)
_IMAGES = rf"(?ais:.+\.(?:{'|'.join(ENDINGS)}))\Z"


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
