"""Parse a JPEG's markers: its size, where its scans end, what a decoder must hold in memory."""

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

ReadAt = Callable[[int, int], bytes]
"""``read_at(length, offset)`` returns ``length`` bytes, or fewer at the end of the file."""

START, END = b"\xff\xd8", b"\xff\xd9"
SCAN, _EOI = 0xDA, 0xD9
# Frame headers with a size: SOF0 to SOF15, except DHT, JPG and DAC, which share that range.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
COMMON = frozenset({0xC0, 0xC1, 0xC2})  # Huffman-coded DCT
_PROGRESSIVE = frozenset({0xC2, 0xCA})
_BARE = frozenset({0x01, *range(0xD0, 0xD9)})  # TEM, RST0 to RST7, SOI: no length follows
# What decoders know: frames, DHT, DAC, DQT, DNL, DRI, SOS, APP0 to APP15 and comments.
_KNOWN = _FRAMES | {0xC4, 0xCC, 0xDB, 0xDC, 0xDD, SCAN, *range(0xE0, 0xF0), 0xFE}
# In a scan 0xFF is followed by 0 or by another 0xFF, or is a restart marker.
_SCAN_END = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
# Real files have a few dozen segments before the scan. Without a limit, a file that consists of
# fill bytes would take minutes.
_STEPS = 5000
_BLOCK = 4096
# Encoders write about ten scans. Each makes the decoder pass over all pixels, so that a small file
# with thousands of them would take minutes.
_MOST_SCANS = 200
_ALL = (1 << 64) - 1  # the 64 coefficients of a block, a bit for each


class Segment(NamedTuple):
    """A marker's code, its offset, and the offset behind its segment."""

    marker: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Jpeg:
    """The structure of a JPEG file.

    Attributes:
        width, height: in pixels.
        sof: the code of its frame header: 0xC0 for baseline, 0xC2 for progressive, …
        precision: bits per sample.
        is_buffered: whether a decoder must hold the coefficients of all pixels, because they come
            in several scans.
        has_all_scans: whether each coefficient of each component is in one of the scans.
        has_end: whether an end marker follows the last scan.
        pieces: (start, stop) of what decoders know, in the order of the file.
    """

    width: int
    height: int
    sof: int
    precision: int
    is_buffered: bool
    has_all_scans: bool
    has_end: bool
    pieces: tuple[tuple[int, int], ...]

    @property
    def is_regular(self) -> bool:
        """Whether it has an end marker, and nothing before it that decoders don't know."""
        return self.has_end and len(self.pieces) == 1

    def rebuild(self, data: bytes, tail: bytes = b"") -> bytes:
        """Return the file with what decoders know and an end marker.

        Args:
            data: the whole file.
            tail: what to insert behind the last scan.
        """
        return b"".join((*(data[start:stop] for start, stop in self.pieces), tail, END))


def segments(read_at: ReadAt, offset: int = len(START)) -> Iterator[Segment]:
    """Yield the known segments up to the next scan or end marker.

    As libjpeg does, this skips bytes that are no marker, and fill bytes. Unknown markers are
    skipped with their segments.
    """
    for _ in range(_STEPS):
        header = read_at(4, offset)
        if len(header) < 2:  # noqa: PLR2004 - 0xFF and a code
            return
        first, marker = header[0], header[1]
        if first != 0xFF or marker in {0, 0xFF}:  # noqa: PLR2004 - not a marker
            block = read_at(_BLOCK, offset + 1)
            found = block.find(b"\xff")
            offset += 1 + (len(block) if found < 0 else found)
            continue
        if marker == _EOI:
            yield Segment(marker, offset, offset + 2)
            return
        # A length includes its own two bytes.
        length = 0 if marker in _BARE else int.from_bytes(header[2:4], "big")
        stop = offset + 2 + length
        if marker in _KNOWN and length >= 2:  # noqa: PLR2004
            yield Segment(marker, offset, stop)
            if marker == SCAN:
                return
        elif length < 2 or read_at(1, stop) != b"\xff":  # noqa: PLR2004
            stop = offset + 2  # what follows is no length
        offset = stop


def parse(data: bytes) -> Jpeg | None:
    """Return a JPEG's structure; ``None`` if it has no size, no scan or too many."""
    frame = 0
    most_components = 0
    has_end = False
    coefficients: dict[int, int] = {}
    pieces = [(0, len(START))]
    offset = len(START)
    for _ in range(_MOST_SCANS):
        scan = None
        for segment in segments(lambda length, at: data[at : at + length], offset):
            offset = segment.stop
            if segment.marker == _EOI:
                has_end = True
                break
            if segment.marker in _FRAMES:
                frame = frame or segment.start
            if segment.marker == SCAN:
                scan = segment
                found = _SCAN_END.search(data, offset)
                offset = len(data) if found is None else found.start()
            if segment.start == pieces[-1][1]:
                pieces[-1] = pieces[-1][0], offset
            else:
                pieces.append((segment.start, offset))
        if scan is None:
            break
        parts = _scanned(data[scan.start + 4 : scan.stop])
        most_components = max(most_components, len(parts))
        for component, bits in parts.items():
            coefficients[component] = coefficients.get(component, 0) | bits
    else:
        return None
    if not frame or not coefficients:
        return None
    sof = data[frame + 1]
    precision, height, width, components = struct.unpack_from(">BHHB", data, frame + 4)
    is_progressive = sof in _PROGRESSIVE
    return Jpeg(
        width,
        height,
        sof,
        precision,
        is_buffered=is_progressive or most_components < components,
        has_all_scans=len(coefficients) >= components
        and (not is_progressive or all(bits == _ALL for bits in coefficients.values())),
        has_end=has_end,
        pieces=tuple(pieces),
    )


def _scanned(header: bytes) -> dict[int, int]:
    """Return the components of a scan with the coefficients that are exact after it, as bits.

    Args:
        header: the content of its segment (ITU-T T.81, B.2.3).
    """
    if len(header) < 4 or len(header) < 4 + 2 * header[0]:  # noqa: PLR2004 - cut short
        return {}
    count = header[0]
    first, last, approximation = header[1 + 2 * count : 4 + 2 * count]
    is_exact = approximation & 0xF == 0
    bits = (1 << last + 1) - (1 << first) & _ALL if is_exact else 0
    return dict.fromkeys(header[1 : 1 + 2 * count : 2], bits)
