"""Parse AV1's sequence headers: how large an image its decoder may have to hold."""

from collections.abc import Iterator, Sequence

_SEQUENCE_HEADER = 1
_MOST_UNITS = 10_000
_TIERED = 7  # a tier follows a level above this


def find_largest(data: bytes, coded: Sequence[tuple[int, int]]) -> int | None:
    """Return the most pixels that an image has; ``None`` if a header is broken.

    An AVIF file says a size in its own header too, but its decoder first holds what is coded, and
    then scales it down to that.

    Args:
        data: the whole file.
        coded: (start, stop) of each part that is coded as AV1.
    """
    try:
        headers = (each for start, stop in coded for each in _sequence_headers(data, start, stop))
        return max((_count_pixels(header) for header in headers), default=None)
    except (IndexError, ValueError):
        return None


def _sequence_headers(data: bytes, offset: int, stop: int) -> Iterator[bytes]:
    """Yield the sequence headers of one part (AV1 specification, 5.3).

    Raises:
        IndexError, ValueError: it is broken.
    """
    for _ in range(_MOST_UNITS):
        if offset >= min(stop, len(data)):
            return
        head = data[offset]
        has_extension, has_size = head & 4, head & 2
        offset += 2 if has_extension else 1
        length = stop - offset
        if has_size:
            length = 0
            for place in range(8):  # LEB128
                byte = data[offset]
                offset += 1
                length |= (byte & 0x7F) << (7 * place)
                if not byte & 0x80:
                    break
        if head >> 3 & 15 == _SEQUENCE_HEADER:
            yield data[offset : offset + min(length, 64)]
        offset += length
    raise ValueError


def _count_pixels(header: bytes) -> int:
    """Return the pixels of the largest image of a sequence (AV1 specification, 5.5.1).

    Raises:
        ValueError: it is cut.
    """
    bits = _Bits(header)
    bits.take(4)
    if bits.take(1):  # the short header of a still image
        bits.take(5)
    else:
        delay_bits = _skip_timing(bits) if bits.take(1) else 0
        has_display_delay = bits.take(1)
        for _ in range(bits.take(5) + 1):
            bits.take(12)
            if bits.take(5) > _TIERED:
                bits.take(1)
            if delay_bits and bits.take(1):
                bits.take(2 * delay_bits + 1)
            if has_display_delay and bits.take(1):
                bits.take(4)
    width_bits, height_bits = bits.take(4) + 1, bits.take(4) + 1
    return (bits.take(width_bits) + 1) * (bits.take(height_bits) + 1)


def _skip_timing(bits: "_Bits") -> int:
    """Skip what says when to show the images; return how many bits a delay has, 0 for none."""
    bits.take(64)
    if bits.take(1):
        zeros = 0
        while not bits.take(1):
            zeros += 1
        bits.take(zeros)
    if not bits.take(1):
        return 0
    delay_bits = bits.take(5) + 1
    bits.take(42)
    return delay_bits


class _Bits:
    """Reads bits, the highest of each byte first."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise ValueError
        return self._value >> self._left & (1 << count) - 1
