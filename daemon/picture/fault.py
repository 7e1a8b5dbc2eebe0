"""Draw the picture of a file that could not be read: the reason and the file's first bytes."""

import numpy as np

from daemon.picture import png
from daemon.picture.boxes import HEIGHT, MARGIN, WIDTH, Box
from daemon.picture.canvas import (
    GREY,
    PALE_INK,
    PALETTES,
    ink,
    write,
    write_head,
    write_paragraph,
)
from daemon.picture.text import Font
from daemon.records import Status

_TITLE = "error: could not be read"
_REASON = Box(MARGIN, 72, WIDTH - 2 * MARGIN, 96)
_DUMP = Box(MARGIN, 204, WIDTH - 2 * MARGIN, 120)
_DUMP_PAPER = 244  # grey level
_DUMP_INK = ink(80, paper=_DUMP_PAPER)
_COLUMNS = 16  # bytes per line, as in `hexdump -C`
_LINES = 6
_WHITE = 255


class FaultPainter:
    """Draws pictures of files that could not be read, in the same size as other pictures."""

    def __init__(self) -> None:
        self._title = Font("DejaVuSans-Bold", 17)
        self._name = Font("DejaVuSans", 12)
        self._reason = Font("DejaVuSans", 15)
        self._caption = Font("DejaVuSans", 11)
        self._dump = Font("DejaVuSansMono", 12)

    def paint(self, name: str, reason: str, start: bytes) -> bytes:
        """Return the picture as a whole PNG file.

        Args:
            name: the file's name; any string, of any length.
            reason: why it could not be read.
            start: the file's first bytes, as far as they are known. People recognise a PDF, a web
                page or a Git LFS pointer by them.
        """
        canvas = np.full((HEIGHT, WIDTH), GREY[_WHITE])
        write_head(canvas, (self._title, _TITLE), (self._name, name))
        write_paragraph(canvas, _REASON, self._reason, reason)
        if start:
            x, y, width, height = _DUMP
            write(canvas, (x, y - 7), self._caption, "the file's first bytes", PALE_INK)
            canvas[y : y + height, x : x + width] = GREY[_DUMP_PAPER]
            for i, line in enumerate(_dumped(start[: _LINES * _COLUMNS])):
                baseline = y + 2 + self._dump.ascent + i * self._dump.height
                write(canvas, (x + 8, baseline), self._dump, line, _DUMP_INK)
        return png.encode(canvas, PALETTES[Status.ERROR])


def _dumped(data: bytes) -> list[str]:
    """Return lines with the offset of 16 bytes, the bytes in hexadecimal and as ASCII."""
    lines = []
    for offset in range(0, len(data), _COLUMNS):
        part = data[offset : offset + _COLUMNS]
        text = "".join(c if c.isprintable() else "." for c in part.decode("ascii", "replace"))
        text = text.replace("\N{REPLACEMENT CHARACTER}", ".")
        lines.append(f"{offset:04x}  {part.hex(' '):47}  {text}")
    return lines
