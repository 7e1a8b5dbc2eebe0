"""Where the ink is on a page: stored in its picture, and how to crop the page to it."""

import re
from dataclasses import astuple, dataclass

import cv2

from daemon.picture.text import Pixels

_NAME, _KEYWORD = b"tEXt", b"digitd ink"  # of the chunk; PNG specification 11.3.3
_CHUNK = re.compile(_NAME + _KEYWORD + rb"\0" + rb" ".join([rb"(\d{1,5})"] * 6))
_LENGTH = slice(33, 37)  # of the chunk's body, after the signature and IHDR

HEAD_BYTES = 256
"""So many bytes at the start of a picture have the place of the ink."""

_MARGIN = 0.4  # beside the ink, in its heights
_FLAT = 4  # a dash counts as a quarter as high as it is wide
_ASPECT = 1.2  # at least so many times as wide as high, which shows what is next to a digit
_WORTHWHILE = 0.7  # a crop with more of the page's longest side than this is not made


@dataclass(frozen=True, slots=True)
class InkPlace:
    """The bounding box of the ink on a page of ``width`` x ``height`` px; the ends are outside."""

    left: int
    top: int
    right: int
    bottom: int
    width: int
    height: int

    @property
    def is_valid(self) -> bool:
        """Whether the box lies in the page and is not empty."""
        return 0 <= self.left < self.right <= self.width and (
            0 <= self.top < self.bottom <= self.height
        )

    def crop(self) -> "InkPlace | None":
        """Return what to show of the page; ``None`` for all of it."""
        high = max(self.bottom - self.top, (self.right - self.left) / _FLAT)
        margin = _MARGIN * high
        top, bottom = self.top - margin, self.bottom + margin
        left, right = self.left - margin, self.right + margin
        missing = _ASPECT * (bottom - top) - (right - left)
        if missing > 0:
            left, right = left - missing / 2, right + missing / 2
        start, end = _shift(left, right, self.width)
        first, last = _shift(top, bottom, self.height)
        longest = max(end - start, last - first)
        if longest > _WORTHWHILE * max(self.width, self.height):
            return None
        return InkPlace(start, first, end, last, self.width, self.height)

    def scaled(self, width: int, height: int) -> tuple[slice, slice]:
        """Return the rows and columns of the box if the page has another size."""
        rows = slice(self.top * height // self.height, -(-self.bottom * height // self.height))
        columns = slice(self.left * width // self.width, -(-self.right * width // self.width))
        return rows, columns


def locate(mask: Pixels) -> InkPlace | None:
    """Return where the ink is; ``None`` if there is none.

    Args:
        mask: (H, W) uint8, nonzero on the ink; in the page's proportions.
    """
    x, y, width, height = cv2.boundingRect(mask)
    if not width:
        return None
    return InkPlace(x, y, x + width, y + height, mask.shape[1], mask.shape[0])


def format_chunk(place: InkPlace) -> tuple[bytes, bytes]:
    """Return type and body of a PNG chunk that stores the place."""
    return _NAME, _KEYWORD + b"\0" + " ".join(map(str, astuple(place))).encode()


def read_place(head: bytes) -> InkPlace | None:
    """Return the place that a picture stores; ``None`` if it stores none.

    Args:
        head: the first bytes of the picture, which may be any file.
    """
    start = _LENGTH.stop
    end = start + len(_NAME) + int.from_bytes(head[_LENGTH])
    found = _CHUNK.fullmatch(head, start, end)  # the checksum that follows may begin with a digit
    if found is None:
        return None
    place = InkPlace(*map(int, found.groups()))
    return place if place.is_valid else None


def _shift(start: float, end: float, size: int) -> tuple[int, int]:
    """Return a stretch as whole pixels, shifted into a side and cut to it."""
    if start < 0:
        start, end = 0, end - start
    elif end > size:
        start, end = start - (end - size), size
    return max(0, int(start)), min(size, -int(-end // 1))
