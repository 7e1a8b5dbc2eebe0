"""Draw the annotated picture of one reading: the original, what the model saw, its answer."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties

from daemon.picture import GLYPH_PANEL, HEIGHT, MARGIN, ORIGINAL_PANEL, SIDE, TOP, WIDTH, Box
from daemon.picture.canvas import (
    BAR,
    BAR_HEIGHT,
    DARK_INK,
    GREY,
    PALE,
    PALE_INK,
    PALETTES,
    STATUS_COLOURS,
    TINT,
    TRACK,
    WHITE,
    Canvas,
    draw_outline,
    encode_png,
    enlarge,
    fit,
    make_ink,
    put,
)
from daemon.picture.ink import locate
from daemon.picture.number import Candidate, Fonts, draw_candidates, draw_strip
from daemon.picture.text import Font, Pixels, shorten, wrap, write, write_paragraph
from daemon.records import DIGITS, Doubt, Status, Symbol, Verdict, format_percent

# Baselines of the two lines at the top, and of the panels' captions.
_TITLE_Y, _NAME_Y, _CAPTION_Y = 25, 45, TOP - 7
_ANSWER_X = GLYPH_PANEL.x + SIDE + 18
_ANSWER_PANEL = Box(_ANSWER_X, TOP, WIDTH - MARGIN - _ANSWER_X, SIDE)
# Inside it: the labels, their bars, and the values in a separate column on the right.
_LABELS = (*map(str, range(DIGITS)), "none")
_LABEL_WIDTH, _VALUE_WIDTH = 34, 58
_BARS_X, _VALUES_END = _ANSWER_X + _LABEL_WIDTH, _ANSWER_X + _ANSWER_PANEL.width
_BAR_LENGTH = _ANSWER_PANEL.width - _LABEL_WIDTH - _VALUE_WIDTH  # of a probability of 1
_BAR_TOPS = [
    TOP + round((i + 0.5) * SIDE / len(_LABELS) - BAR_HEIGHT / 2) for i in range(len(_LABELS))
]
_CAPITAL = 9  # height of a digit in 12 px text, px
_BASELINES = [top + (BAR_HEIGHT + _CAPITAL) // 2 for top in _BAR_TOPS]
_FRAME, _EMPTY = 200, 240  # grey levels, 0 is black
_DPI = 100  # matplotlib's; a point is 100 / 72 px
_NOTE_INK = make_ink(PALE, paper=_EMPTY)

# On the picture of a file that could not be read: the reason and a dump of its first bytes.
_REASON = Box(MARGIN, TOP, WIDTH - 2 * MARGIN, 96)
_DUMP = Box(MARGIN, 204, WIDTH - 2 * MARGIN, 120)
_DUMP_PAPER = 244  # grey level
_DUMP_INK = make_ink(80, paper=_DUMP_PAPER)
_DUMP_COLUMNS = 16  # bytes per line, as in `hexdump -C`
_DUMP_BYTES = 6 * _DUMP_COLUMNS

# What the picture explains of reasons for which the model is not run.
_EXPLANATIONS: dict[str, str] = {
    Doubt.NO_INK: "No ink: nothing stands out from the background the way ink does.",
    Doubt.SEVERAL_DIGITS: "Several digits: digitd reads one digit per image. Crop a separate image "
    "for each digit.",
}
_NUMBER_EXPLANATIONS: dict[str, str] = {
    Doubt.NO_INK: _EXPLANATIONS[Doubt.NO_INK],
    Doubt.NOT_A_NUMBER: "Not a number: digits, and between them one of . , - / : are read, and a "
    "minus before them.",
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
        self._fonts = Fonts(self._title, self._reason, self._bold, self._text, self._caption)
        self._background = _draw_background("probability of each digit")
        for top in _BAR_TOPS:
            track = self._background[top : top + BAR_HEIGHT, _BARS_X : _BARS_X + _BAR_LENGTH]
            track[:] = GREY[TRACK]
        for label, baseline in zip(_LABELS, _BASELINES, strict=True):
            write(self._background, (_ANSWER_X, baseline), self._text, label, DARK_INK)

    @cached_property
    def _number_background(self) -> Canvas:
        """The background of all pictures of numbers; most painters draw none."""
        return _draw_background("the whole number")

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
            put(canvas, GLYPH_PANEL, enlarge(GREY[glyph]))
        else:
            self._note_nothing(canvas)
        if verdict.probabilities is None:
            text = _EXPLANATIONS.get(verdict.reason, verdict.reason)
            self._explain(canvas, _ANSWER_PANEL, text)
        else:
            self._draw_bars(canvas, verdict.probabilities, verdict.text)
        return _add_original(canvas, verdict.status, thumbnail, mask)

    def paint_number(
        self,
        name: str,
        verdict: Verdict,
        *,
        thumbnail: Pixels,
        strip: Pixels,
        symbols: Sequence[Symbol],
        runner_up: Candidate,
        mask: Pixels | None = None,
    ) -> bytes:
        """Return the picture of the reading of a number as a whole PNG file.

        Args:
            name: see ``paint``, as for ``verdict``, ``thumbnail`` and ``mask``.
            verdict: its text may differ from the symbols.
            thumbnail: the original.
            strip: (h, w) uint8, white ink on black, the model's input; all zeros if there was none.
            symbols: what was read in it, from left to right.
            runner_up: the second most likely text.
            mask: the ink that was found.
        """
        canvas = self._number_background.copy()
        self._write_head(canvas, _headline(verdict), name)
        if strip.any():
            draw_strip(canvas, strip, symbols, self._bold)
        else:
            self._note_nothing(canvas)
        below = _ANSWER_PANEL
        if symbols:
            best = Candidate("".join(each.text for each in symbols), verdict.confidence)
            below = draw_candidates(canvas, _ANSWER_PANEL, best, runner_up, self._fonts)
        if verdict.reason:
            text = _NUMBER_EXPLANATIONS.get(verdict.reason, verdict.reason)
            self._explain(canvas, below, text)
        return _add_original(canvas, verdict.status, thumbnail, mask)

    def paint_unreadable(self, name: str, reason: str, head: bytes) -> bytes:
        """Return the picture of a file that could not be read as a whole PNG file.

        Args:
            name: the file's name; any string, of any length.
            reason: why it could not be read.
            head: the file's first bytes, as far as they are known. People recognise a PDF, a web
                page or a Git LFS pointer by them.
        """
        canvas = np.full((HEIGHT, WIDTH), GREY[WHITE])
        self._write_head(canvas, "error: could not be read", name)
        write_paragraph(canvas, _REASON, self._reason, reason, DARK_INK)
        if head:
            x, y, width, height = _DUMP
            write(canvas, (x, y - 7), self._caption, "the file's first bytes", PALE_INK)
            canvas[y : y + height, x : x + width] = GREY[_DUMP_PAPER]
            for i, line in enumerate(_dump(head[:_DUMP_BYTES])):
                baseline = y + 2 + self._mono.ascent + i * self._mono.height
                write(canvas, (x + 8, baseline), self._mono, line, _DUMP_INK)
        return encode_png(canvas, PALETTES[Status.ERROR])

    def _write_head(self, canvas: Canvas, title: str, name: str) -> None:
        """Write the title in the status's colour and the file's name below it."""
        width = WIDTH - 2 * MARGIN
        (line,) = wrap(self._title, title, width, lines=1)
        write(canvas, (MARGIN, _TITLE_Y), self._title, line, TINT)
        write(canvas, (MARGIN, _NAME_Y), self._text, shorten(self._text, name, width), DARK_INK)

    def _draw_bars(
        self, canvas: Canvas, probabilities: tuple[float, ...], chosen: str | None
    ) -> None:
        for index, probability in enumerate(probabilities):
            baseline = _BASELINES[index]
            if _LABELS[index] == chosen:
                bar, font, ink = TINT[WHITE], self._bold, TINT
                write(canvas, (_ANSWER_X, baseline), font, _LABELS[index], ink)
            else:
                bar, font, ink = GREY[BAR], self._text, DARK_INK
            length = round(probability * _BAR_LENGTH)
            top = _BAR_TOPS[index]
            canvas[top : top + BAR_HEIGHT, _BARS_X : _BARS_X + length] = bar
            value = format_percent(probability)
            write(canvas, (_VALUES_END - font.width(value), baseline), font, value, ink)

    def _note_nothing(self, canvas: Canvas) -> None:
        """Write into the middle panel that the model saw nothing."""
        note = "nothing"
        x = GLYPH_PANEL.x + (SIDE - self._text.width(note)) // 2
        write(canvas, (x, TOP + (SIDE + _CAPITAL) // 2), self._text, note, _NOTE_INK)

    def _explain(self, canvas: Canvas, panel: Box, text: str) -> None:
        """Write why a row is not ``ok`` in place of all that is in the panel."""
        x, y, width, height = panel
        above = TOP - _CAPTION_Y
        canvas[y - above - self._caption.ascent : y + height, x : x + width] = GREY[WHITE]
        write(canvas, (x, y - above), self._caption, "reason", PALE_INK)
        write_paragraph(canvas, panel, self._text, text, DARK_INK)


def _add_original(canvas: Canvas, status: Status, thumbnail: Pixels, mask: Pixels | None) -> bytes:
    """Draw the original with its ink outlined; return the picture as a whole PNG file."""
    palette = PALETTES[status]
    red, green, blue = np.moveaxis(thumbnail, 2, 0)
    is_coloured = not (np.array_equal(red, green) and np.array_equal(green, blue))
    if is_coloured:
        # 256 colours are too few for a photo next to the rest of the picture. True colour
        # takes 3.3 ms instead of 1.7 ms (2 cores, 224x168 px photo).
        canvas = cv2.applyColorMap(canvas, palette[:, None]).astype(np.uint8, copy=False)
        original = fit(thumbnail)
        line: Pixels | np.uint8 = np.array(STATUS_COLOURS[status], np.uint8)
    else:
        original, line = fit(GREY[red]), TINT[WHITE]
    place = None
    if mask is not None:
        draw_outline(original, mask, line)
        place = locate(mask)
    put(canvas, ORIGINAL_PANEL, original)
    return encode_png(canvas, None if is_coloured else palette, place)


def _headline(verdict: Verdict) -> str:
    """Return the verdict on a file that could be read in words, starting with the status."""
    if verdict.text is None:
        return f"{verdict.status}: {verdict.reason}"
    guess = verdict.text
    if verdict.confidence is not None:  # not so for the value of a file that was nearly read
        guess += f", {format_percent(verdict.confidence)} sure"
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


def _draw_background(answer: str) -> Canvas:
    """Draw what is on all pictures: empty panels and captions.

    Args:
        answer: the caption of the panel on the right.

    Returns:
        (340, 768) uint8 colour indices.
    """
    with mpl.rc_context():
        mpl.rcdefaults()  # the user's matplotlibrc must not change the pictures
        # matplotlib.figure, which draws the same, takes 0.2 s and 10 MB to import and use.
        agg: Any = RendererAgg(WIDTH, HEIGHT, _DPI)  # type: ignore[no-untyped-call]
        pixels: Pixels = np.asarray(agg.buffer_rgba())
        pixels[:] = WHITE
        pen = agg.new_gc()
        pen.set_foreground((PALE / WHITE,) * 3)
        font = FontProperties(family="DejaVu Sans", size=11 * 72 / _DPI)
        baseline = TOP - 1 - 4 * _DPI / 72  # as of the title of a matplotlib plot
        for box, caption in (
            (ORIGINAL_PANEL, "original, ink outlined"),
            (GLYPH_PANEL, "what the model saw"),
            (_ANSWER_PANEL, answer),
        ):
            agg.draw_text(pen, box.x - 1, baseline, caption, font, 0)
    canvas = GREY[pixels[..., 0]]
    for x, y, width, height in (ORIGINAL_PANEL, GLYPH_PANEL):
        canvas[y - 1 : y + height + 1, x - 1 : x + width + 1] = GREY[_FRAME]
        canvas[y : y + height, x : x + width] = GREY[_EMPTY]
    return canvas
