"""Count the pages of a PDF, without a library: its row says how many there are."""

import re
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

# In these, quantifiers are bounded, so that no file takes more than a pass or two.
_REFERENCE = rb"\s{0,9}(\d{1,9})\s{1,9}(\d{1,5})\s{1,9}R\b"
_ROOT = re.compile(rb"/Root" + _REFERENCE)
_TREE = re.compile(rb"/Pages" + _REFERENCE)
_COUNT = re.compile(rb"/Count\s{0,9}(\d{1,7})\b(?!\s{1,9}\d{1,5}\s{1,9}R\b)")
_PAGE = re.compile(rb"/Type\s{0,9}/Page(?![A-Za-z])")
_LINEARIZED = re.compile(rb"/Linearized\b[^>]{0,200}?/N\s{1,9}(\d{1,7})\b")
_ENCRYPT = re.compile(rb"/Encrypt\s{0,9}(?:<<|\d{1,9}\s)")
_OBJECT_STREAM = re.compile(rb"/Type\s{0,9}/ObjStm\b")
_ENTRY = re.compile(rb"/(N|First)\s{1,9}(\d{1,7})\b")
_NUMBER = re.compile(rb"\d{1,9}")
_STREAM = re.compile(rb"\bstream\r?\n")
_HEAD_BYTES, _TAIL_BYTES = 4096, 2048
_DICTIONARY_BYTES = 2048  # of an object stream; longer ones don't exist
_OBJECT_BYTES = 1 << 20  # of a page tree's root: 100,000 pages
_MOST_MATCHES = 10_000
_MOST_TRIES = 100
# Object streams have everything but pictures and text: a few megabytes in all, if they are real.
_UNPACKED_BYTES = 32_000_000


@dataclass(frozen=True, slots=True)
class Pdf:
    """What a row says about a PDF; ``pages`` is ``None`` if the number cannot be found."""

    pages: int | None
    is_encrypted: bool


def parse(data: bytes) -> Pdf:
    """Return what can be found in a PDF, which may be broken or hostile."""
    return Pdf(_count(data), _ENCRYPT.search(data) is not None)


def _count(data: bytes) -> int | None:
    """Return the number of pages: from the page tree, or else from what is in plain text."""
    # What is appended to a PDF replaces what it had.
    roots = deque(islice(_ROOT.finditer(data), _MOST_MATCHES), maxlen=1)
    if roots:
        packed = _unpack(data)
        tree = _TREE.search(_find_object(data, packed, roots[0]))
        if tree is not None:
            count = _COUNT.search(_find_object(data, packed, tree))
            if count is not None and int(count[1]):
                return int(count[1])
    if (first := _LINEARIZED.search(data[:_HEAD_BYTES])) is not None:
        return int(first[1])
    if b"%%EOF" in data[-_TAIL_BYTES:]:
        return sum(1 for _ in islice(_PAGE.finditer(data), _MOST_MATCHES)) or None
    return None  # a part of it is missing


def _find_object(
    data: bytes, packed: dict[int, tuple[int, bytes]], reference: re.Match[bytes]
) -> bytes:
    """Return the newest version of an object; empty if it is not found."""
    number, generation = int(reference[1]), int(reference[2])
    position, text = packed.get(number, (-1, b""))
    mark = b"%d %d obj" % (number, generation)
    start = len(data)
    for _ in range(_MOST_TRIES):
        start = data.rfind(mark, 0, start)
        if start <= position:
            return text
        if not data[start - 1 : start].isdigit():  # of a longer number
            stop = data.find(b"endobj", start, start + _OBJECT_BYTES)
            return data[start + len(mark) : max(stop, 0)]
    return b""


def _unpack(data: bytes) -> dict[int, tuple[int, bytes]]:
    """Return the catalogs and page trees in object streams by their numbers, with their places."""
    found = {}
    for position, content, count, first in _object_streams(data):
        numbers = content[:first].split(maxsplit=2 * count)[: 2 * count]
        if len(numbers) < 2 * count or not all(map(_NUMBER.fullmatch, numbers)):
            continue
        starts = [first + int(offset) for offset in numbers[1::2]]
        if starts != sorted(starts):  # as they must be (ISO 32000-1, 7.5.7)
            continue
        stops = [*starts[1:], len(content)]
        for number, start, stop in zip(numbers[::2], starts, stops, strict=True):
            text = content[start:stop]
            if b"/Pages" in text:
                found[int(number)] = position, text
    return found


def _object_streams(data: bytes) -> Iterator[tuple[int, bytes, int, int]]:
    """Yield (position, content, number of objects, offset of the first) of each object stream."""
    left = _UNPACKED_BYTES
    for match in _OBJECT_STREAM.finditer(data):
        begin = _STREAM.search(data, match.end(), match.end() + _DICTIONARY_BYTES)
        if begin is None:
            continue
        stop = data.find(b"endstream", begin.end())
        if stop < 0:
            return
        around = data.rfind(b"obj", max(0, match.start() - _DICTIONARY_BYTES), match.start())
        dictionary = data[max(0, around) : begin.start()]
        numbers = {name: int(value) for name, value in _ENTRY.findall(dictionary)}
        left -= stop - begin.end()
        if left <= 0:
            return
        content = data[begin.end() : stop]
        if b"/Filter" in dictionary:
            try:
                content = zlib.decompressobj().decompress(content, left)
            except zlib.error:  # it is encrypted, or compressed otherwise
                continue
        left -= len(content)
        if numbers.keys() == {b"N", b"First"} and left > 0:
            yield match.start(), content, numbers[b"N"], numbers[b"First"]
