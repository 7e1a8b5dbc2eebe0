"""Read the lines that are appended to a file."""

import os
from dataclasses import dataclass

_BLOCK = 1 << 18


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its newline, and where it starts in the file, in bytes."""

    offset: int
    text: str


def whole_lines(descriptor: int, offset: int) -> tuple[list[Line], int]:
    """Return the next whole lines of a file, at most about 256 KiB, and where the next one starts.

    Args:
        descriptor: of a file opened for reading.
        offset: where a line starts.

    Raises:
        OSError: the file cannot be read.
    """
    size = _BLOCK
    while True:
        block = os.pread(descriptor, size, offset)
        end = block.rfind(b"\n") + 1
        if end or len(block) < size:
            break
        size *= 2  # a line that is longer than the block
    lines = []
    position = offset
    for raw in block[:end].split(b"\n")[:-1]:
        lines.append(Line(position, raw.decode("utf-8", "replace")))
        position += len(raw) + 1
    return lines, offset + end


def line_at(descriptor: int, offset: int) -> str:
    """Return the whole line that starts at an offset, without its newline; empty if there is none.

    Raises:
        OSError: the file cannot be read.
    """
    size = 4096
    while True:
        block = os.pread(descriptor, size, offset)
        end = block.find(b"\n")
        if end >= 0:
            return block[:end].decode("utf-8", "replace")
        if len(block) < size:
            return ""
        size *= 2
