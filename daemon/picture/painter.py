"""Draw the annotated picture of one reading: the original, what the model saw, its answer."""

import struct
import zlib
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
from isal import isal_zlib
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties

from daemon.picture import GLYPH_PANEL, HEIGHT, MARGIN, ORIGINAL_PANEL, SIDE, TOP, WIDTH, Box
from daemon.picture.text import Font, Pixels, shorten, wrap, write, write_paragraph
from daemon.records import DIGITS, Doubt, Status, Verdict, format_percent

Canvas = Pixels
"""(h, w) uint8 colour indices. Pictures are grey except for the colour of their status."""

# The first 224 indices are greys (a grey photo loses at most 1 of its 255 levels). The last 32 go
# from white to the status's colour, for antialiased text.
_GREYS, _TINTS = 224, 32
_WHITE = 255
_GREY = np.round(np.arange(256) * (_GREYS - 1) / 255).astype(np.uint8)
"""(256,) grey level -> index."""
_TINT = (_GREYS + np.arange(256) * (_TINTS - 1) // 255).astype(np.uint8)
"""(256,) coverage -> index of the status's colour on white."""

# Each has a contrast of at least 4.5 to 1 on white. For every kind of colour blindness (simulated
# after Machado et al. 2009) any two are at least 24 apart in CIELAB; the usual green and red are
# only 13 apart. The title also gives the status in words.
_STATUS_COLOURS = {
    Status.OK: (0, 126, 90),
    Status.UNSURE: (172, 98, 0),
    Status.ERROR: (158, 10, 35),
}


def _make_palette(colour: tuple[int, int, int]) -> Pixels:
    greys = np.linspace(0, 255, _GREYS)[:, None].repeat(3, axis=1)
    tints = np.linspace((_WHITE,) * 3, colour, _TINTS)
    return np.round(np.concatenate([greys, tints])).astype(np.uint8)


_PALETTES = {status: _make_palette(colour) for status, colour in _STATUS_COLOURS.items()}
"""(256, 3) uint8 RGB for each status."""


def _make_ink(level: int, paper: int = _WHITE) -> Pixels:
    """Return colour indices by coverage, (256,) uint8, from the paper's grey level to the ink's."""
    return _GREY[np.linspace(paper, level, 256).round().astype(np.uint8)]


_PALE = 110  # grey level
_PALE_INK, _DARK_INK = _make_ink(_PALE), _make_ink(40)

# Baselines of the two lines at the top, and of the panels' captions.
_TITLE_Y, _NAME_Y, _CAPTION_Y = 25, 45, TOP - 7
_ANSWER_X = GLYPH_PANEL.x + SIDE + 18
_ANSWER_PANEL = Box(_ANSWER_X, TOP, WIDTH - MARGIN - _ANSWER_X, SIDE)
# Inside it: the labels, their bars, and the values in a separate column on the right.
_LABELS = (*map(str, range(DIGITS)), "none")
_LABEL_WIDTH, _VALUE_WIDTH, _BAR_HEIGHT = 34, 58, 13
_BARS_X, _VALUES_END = _ANSWER_X + _LABEL_WIDTH, _ANSWER_X + _ANSWER_PANEL.width
_BAR_LENGTH = _ANSWER_PANEL.width - _LABEL_WIDTH - _VALUE_WIDTH  # of a probability of 1
_BAR_TOPS = [
    TOP + round((i + 0.5) * SIDE / len(_LABELS) - _BAR_HEIGHT / 2) for i in range(len(_LABELS))
]
_CAPITAL = 9  # height of a digit in 12 px text, px
_BASELINES = [top + (_BAR_HEIGHT + _CAPITAL) // 2 for top in _BAR_TOPS]
_FRAME, _EMPTY, _TRACK, _BAR = 200, 240, 236, 150  # grey levels, 0 is black
_DPI = 100  # matplotlib's; a point is 100 / 72 px
_NOTE_INK = _make_ink(_PALE, paper=_EMPTY)

# On the picture of a file that could not be read: the reason and a dump of its first bytes.
_REASON = Box(MARGIN, TOP, WIDTH - 2 * MARGIN, 96)
_DUMP = Box(MARGIN, 204, WIDTH - 2 * MARGIN, 120)
_DUMP_PAPER = 244  # grey level
_DUMP_INK = _make_ink(80, paper=_DUMP_PAPER)
_DUMP_COLUMNS = 16  # bytes per line, as in `hexdump -C`
_DUMP_BYTES = 6 * _DUMP_COLUMNS

# The picture's wording for each reason in the table for which the model is not run.
_HEADLINES: dict[str, str] = {
    Doubt.NO_INK: "no digit found",
    Doubt.SEVERAL_DIGITS: "more than one digit found",
}
_EXPLANATIONS: dict[str, str] = {
    Doubt.NO_INK: "No digit found: nothing stands out from the background the way ink does.",
    Doubt.SEVERAL_DIGITS: "More than one digit found. "
    "digitd reads one digit per image: crop a separate image for each digit.",
}


class Painter:
    """Draws pictures of 768x340 px; what is on all of them is drawn once."""

    def __init__(self) -> None:
        self._title = Font("DejaVuSans-Bold", 17)
        self._reason = Font("DejaVuSans", 15)
        self._text = Font("DejaVuSans", 12)
        self._bold = Font("DejaVuSans-Bold", 12)
        self._caption = Font("DejaVuSans", 11)
        self._mono = Font("DejaVuSansMono", 12)
        self._background = _draw_background()
        for label, baseline in zip(_LABELS, _BASELINES, strict=True):
            write(self._background, (_ANSWER_X, baseline), self._text, label, _DARK_INK)

    def paint(
        self,
        name: str,
        verdict: Verdict,
        *,
        thumbnail: Pixels,
        glyph: Pixels,
        mask: Pixels | None = None,
    ) -> bytes:
        """Return the picture of one reading as a whole PNG file.

        Args:
            name: the file's name; any string, of any length.
            verdict: the verdict on the file.
            thumbnail: (h, w, 3) uint8 RGB, the original scaled down.
            glyph: (28, 28) uint8, white ink on black, the model's input; all zeros if there was
                none.
            mask: (H, W) uint8, 1 on the ink that was found, in the thumbnail's proportions;
                outlined on the thumbnail in the colour of the status.
        """
        canvas = self._background.copy()
        self._write_head(canvas, _headline(verdict), name)
        if glyph.any():
            _put(canvas, GLYPH_PANEL, _enlarge(_GREY[glyph]))
        else:
            note = "nothing"
            x = GLYPH_PANEL.x + (SIDE - self._text.width(note)) // 2
            write(canvas, (x, TOP + (SIDE + _CAPITAL) // 2), self._text, note, _NOTE_INK)
        if verdict.probabilities is None:
            self._explain(canvas, verdict)
        else:
            self._draw_bars(canvas, verdict.probabilities, verdict.text)
        palette = _PALETTES[verdict.status]
        red, green, blue = np.moveaxis(thumbnail, 2, 0)
        is_coloured = not (np.array_equal(red, green) and np.array_equal(green, blue))
        if is_coloured:
            # 256 colours are too few for a photo next to the rest of the picture. True colour
            # takes 3.3 ms instead of 1.7 ms (2 cores, 224x168 px photo).
            canvas = cv2.applyColorMap(canvas, palette[:, None]).astype(np.uint8, copy=False)
            original = _fit(thumbnail)
            line: Pixels | np.uint8 = np.array(_STATUS_COLOURS[verdict.status], np.uint8)
        else:
            original, line = _fit(_GREY[red]), _TINT[_WHITE]
        if mask is not None:
            _outline(original, mask, line)
        _put(canvas, ORIGINAL_PANEL, original)
        return encode_png(canvas, None if is_coloured else palette)

    def paint_unreadable(self, name: str, reason: str, head: bytes) -> bytes:
        """Return the picture of a file that could not be read as a whole PNG file.

        Args:
            name: the file's name; any string, of any length.
            reason: why it could not be read.
            head: the file's first bytes, as far as they are known. People recognise a PDF, a web
                page or a Git LFS pointer by them.
        """
        canvas = np.full((HEIGHT, WIDTH), _GREY[_WHITE])
        self._write_head(canvas, "error: could not be read", name)
        write_paragraph(canvas, _REASON, self._reason, reason, _DARK_INK)
        if head:
            x, y, width, height = _DUMP
            write(canvas, (x, y - 7), self._caption, "the file's first bytes", _PALE_INK)
            canvas[y : y + height, x : x + width] = _GREY[_DUMP_PAPER]
            for i, line in enumerate(_dump(head[:_DUMP_BYTES])):
                baseline = y + 2 + self._mono.ascent + i * self._mono.height
                write(canvas, (x + 8, baseline), self._mono, line, _DUMP_INK)
        return encode_png(canvas, _PALETTES[Status.ERROR])

    def _write_head(self, canvas: Canvas, title: str, name: str) -> None:
        """Write the title in the status's colour and the file's name below it."""
        width = WIDTH - 2 * MARGIN
        (line,) = wrap(self._title, title, width, lines=1)
        write(canvas, (MARGIN, _TITLE_Y), self._title, line, _TINT)
        write(canvas, (MARGIN, _NAME_Y), self._text, shorten(self._text, name, width), _DARK_INK)

    def _draw_bars(
        self, canvas: Canvas, probabilities: tuple[float, ...], chosen: str | None
    ) -> None:
        for index, probability in enumerate(probabilities):
            baseline = _BASELINES[index]
            if _LABELS[index] == chosen:
                bar, font, ink = _TINT[_WHITE], self._bold, _TINT
                write(canvas, (_ANSWER_X, baseline), font, _LABELS[index], ink)
            else:
                bar, font, ink = _GREY[_BAR], self._text, _DARK_INK
            length = round(probability * _BAR_LENGTH)
            top = _BAR_TOPS[index]
            canvas[top : top + _BAR_HEIGHT, _BARS_X : _BARS_X + length] = bar
            value = format_percent(probability)
            write(canvas, (_VALUES_END - font.width(value), baseline), font, value, ink)

    def _explain(self, canvas: Canvas, verdict: Verdict) -> None:
        """Write why the model was not run, in place of the bars."""
        x, y, width, height = _ANSWER_PANEL
        canvas[_CAPTION_Y - self._caption.ascent : y + height, x : x + width] = _GREY[_WHITE]
        write(canvas, (x, _CAPTION_Y), self._caption, "reason", _PALE_INK)
        text = _EXPLANATIONS.get(verdict.reason, verdict.reason)
        write_paragraph(canvas, _ANSWER_PANEL, self._text, text, _DARK_INK)


def _headline(verdict: Verdict) -> str:
    """Return the verdict in words, starting with the status."""
    if verdict.text is None or verdict.confidence is None:
        return f"{verdict.status}: {_HEADLINES.get(verdict.reason, verdict.reason)}"
    guess = f"{verdict.text}, {format_percent(verdict.confidence)} sure"
    if verdict.status is Status.OK:
        return f"{verdict.status}: {guess}"
    return f"{verdict.status}: perhaps {guess} ({verdict.reason})"


def _dump(data: bytes) -> list[str]:
    """Return lines with the offset of 16 bytes, the bytes in hexadecimal and as ASCII."""
    lines = []
    for offset in range(0, len(data), _DUMP_COLUMNS):
        part = data[offset : offset + _DUMP_COLUMNS]
        text = "".join(chr(byte) if " " <= chr(byte) <= "~" else "." for byte in part)
        lines.append(f"{offset:04x}  {part.hex(' '):47}  {text}")
    return lines


def _draw_background() -> Canvas:
    """Draw what is on all pictures: captions, empty panels, the tracks of the bars.

    Returns:
        (340, 768) uint8 colour indices.
    """
    with mpl.rc_context():
        mpl.rcdefaults()  # the user's matplotlibrc must not change the pictures
        # matplotlib.figure, which draws the same, takes 0.2 s and 10 MB to import and use.
        agg: Any = RendererAgg(WIDTH, HEIGHT, _DPI)  # type: ignore[no-untyped-call]
        pixels: Pixels = np.asarray(agg.buffer_rgba())
        pixels[:] = _WHITE
        pen = agg.new_gc()
        pen.set_foreground((_PALE / _WHITE,) * 3)
        font = FontProperties(family="DejaVu Sans", size=11 * 72 / _DPI)
        baseline = TOP - 1 - 4 * _DPI / 72  # as of the title of a matplotlib plot
        for box, caption in (
            (ORIGINAL_PANEL, "original, ink outlined"),
            (GLYPH_PANEL, "what the model saw"),
            (_ANSWER_PANEL, "probability of each digit"),
        ):
            agg.draw_text(pen, box.x - 1, baseline, caption, font, 0)
    canvas = _GREY[pixels[..., 0]]
    for x, y, width, height in (ORIGINAL_PANEL, GLYPH_PANEL):
        canvas[y - 1 : y + height + 1, x - 1 : x + width + 1] = _GREY[_FRAME]
        canvas[y : y + height, x : x + width] = _GREY[_EMPTY]
    for top in _BAR_TOPS:
        canvas[top : top + _BAR_HEIGHT, _BARS_X : _BARS_X + _BAR_LENGTH] = _GREY[_TRACK]
    return canvas


def _put(canvas: Pixels, box: Box, pixels: Pixels) -> None:
    """Centre pixels in a box, which must be large enough for them."""
    height, width = pixels.shape[:2]
    x, y = box.x + (box.width - width) // 2, box.y + (box.height - height) // 2
    canvas[y : y + height, x : x + width] = pixels


def _fit(pixels: Pixels) -> Pixels:
    """Return an image, grey or colour, scaled to fit the panel with its proportions kept."""
    height, width = pixels.shape[:2]
    longest = max(height, width)
    if 2 * longest <= SIDE:
        return _enlarge(pixels)
    size = max(1, round(width * SIDE / longest)), max(1, round(height * SIDE / longest))
    return _resize(pixels, size, cv2.INTER_AREA if longest > SIDE else cv2.INTER_LINEAR)


def _enlarge(pixels: Pixels) -> Pixels:
    """Return a small image with each pixel as large a square as the panel allows."""
    return _repeat(pixels, SIDE // max(pixels.shape[:2]))


def _outline(pixels: Pixels, mask: Pixels, colour: Pixels | np.uint8) -> None:
    """Draw a one-pixel outline around the mask.

    Args:
        pixels: (h, w) or (h, w, 3) uint8, drawn on.
        mask: (H, W) uint8, 1 inside; scaled to the size of ``pixels``.
        colour: an index, or RGB.
    """
    height, width = pixels.shape[:2]
    scale = width // mask.shape[1]
    if mask.shape[0] * scale == height and mask.shape[1] * scale == width:
        inside = _repeat(mask, scale)
    else:
        share = _resize(255 * mask, (width, height), cv2.INTER_AREA)
        inside = (share > _HALF).astype(np.uint8)
    pixels[cv2.dilate(inside, _NEIGHBOURS) > inside] = colour


_NEIGHBOURS = np.ones((3, 3), np.uint8)
_HALF = 127  # in a scaled mask of 0 and 255


def _resize(pixels: Pixels, size: tuple[int, int], way: int) -> Pixels:
    """Return pixels scaled to (width, height)."""
    return cv2.resize(pixels, size, interpolation=way).astype(np.uint8, copy=False)


def _repeat(pixels: Pixels, scale: int) -> Pixels:
    """Return an image with each pixel ``scale`` times as wide and high."""
    # 4 us for 28x28 to 252x252, where cv2.resize takes 26.
    return pixels.repeat(scale, axis=1).repeat(scale, axis=0)


_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_RGB, _INDEXED = 2, 3  # colour types, PNG specification 11.2.1
# Level 1 of Intel's ISA-L on unfiltered rows takes 0.05 ms for a picture of 640x280 indices.
# zlib's level 1 takes 0.37 ms and makes the file 9 % larger. Row filters cost more than they gain.
_LEVEL = 1


def encode_png(pixels: Pixels, palette: Pixels | None = None) -> bytes:
    """Return a whole PNG file.

    Args:
        pixels: (h, w) uint8 indices into the palette, or (h, w, 3) uint8 RGB without one.
        palette: (n, 3) uint8 RGB, n at most 256; every index must be below n.
    """
    height, width = pixels.shape[:2]
    # Each row of a PNG starts with its filter type; 0 means no filter.
    rows = np.zeros((height, 1 + pixels[0].size), np.uint8)
    rows[:, 1:] = pixels.reshape(height, -1)
    colours = _RGB if palette is None else _INDEXED
    header = struct.pack(">IIBBBBB", width, height, 8, colours, 0, 0, 0)
    return b"".join(
        (
            _PNG_SIGNATURE,
            _make_chunk(b"IHDR", header),
            b"" if palette is None else _make_chunk(b"PLTE", palette.tobytes()),
            _make_chunk(b"IDAT", isal_zlib.compress(rows, _LEVEL)),
            _make_chunk(b"IEND", b""),
        )
    )


def _make_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
