"""The annotated picture of one reading: the original, what the model saw, its answer."""

import logging

import cv2
import numpy as np

from daemon.picture import panels, png
from daemon.records import DIGITS, Doubt, Status

# Without a writable home or MPLCONFIGDIR, matplotlib warns at import that it uses a temporary
# cache folder. For a daemon's user that is normal.
logging.getLogger("matplotlib").setLevel(logging.ERROR)

import matplotlib as mpl  # noqa: E402 - after its logger is set
from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from daemon.picture.boxes import (  # noqa: E402
    HEIGHT,
    MARGIN,
    ORIGINAL,
    SEEN,
    SIDE,
    TOP,
    WIDTH,
    Box,
)
from daemon.picture.canvas import (  # noqa: E402
    DARK_INK,
    GREY,
    PALE,
    PALE_INK,
    PALETTES,
    STATUS_COLOURS,
    TINT,
    Canvas,
    ink,
    put,
    write,
    write_head,
    write_paragraph,
)
from daemon.picture.fault import FaultPainter  # noqa: E402
from daemon.picture.text import Font  # noqa: E402
from daemon.records import Verdict, format_percent  # noqa: E402

_DPI = 100
_SAID_X = SEEN.x + SIDE + 18
_SAID = Box(_SAID_X, TOP, WIDTH - MARGIN - _SAID_X, SIDE)
# Inside it: the labels, their bars, and the values in a separate column on the right.
_LABELS = (*map(str, range(DIGITS)), "none")
_LABEL_WIDTH, _VALUE_WIDTH, _BAR_HEIGHT = 34, 58, 13
_BARS = Box(_SAID.x + _LABEL_WIDTH, TOP, _SAID.width - _LABEL_WIDTH - _VALUE_WIDTH, _BAR_HEIGHT)
_BAR_TOPS = [
    TOP + round((i + 0.5) * SIDE / len(_LABELS) - _BAR_HEIGHT / 2) for i in range(len(_LABELS))
]
_CAPITAL = 9  # height of a digit in 12 px text, px
_BASELINES = [top + (_BAR_HEIGHT + _CAPITAL) // 2 for top in _BAR_TOPS]
_CAPTION_Y = TOP - 7  # baseline of the captions

_FULL = 255
_FRAME, _EMPTY, _TRACK, _BAR = 200, 240, 236, 150  # grey levels, 0 black
_NOTE_INK = ink(PALE, paper=_EMPTY)

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
    """Draws pictures of 768x340 px; matplotlib draws the background once.

    Attributes:
        faults: draws the pictures of files that could not be read.
    """

    def __init__(self) -> None:
        self.faults = FaultPainter()
        self._title = Font("DejaVuSans-Bold", 17)
        self._text = Font("DejaVuSans", 12)
        self._bold = Font("DejaVuSans-Bold", 12)
        self._caption = Font("DejaVuSans", 11)
        self._background = _background()
        for label, baseline in zip(_LABELS, _BASELINES, strict=True):
            write(self._background, (_SAID.x, baseline), self._text, label, DARK_INK)

    def paint(
        self,
        name: str,
        verdict: Verdict,
        *,
        thumbnail: NDArray[np.uint8],
        glyph: NDArray[np.uint8],
        mask: NDArray[np.uint8] | None = None,
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
        write_head(canvas, (self._title, _headline(verdict)), (self._text, name))
        if glyph.any():
            put(canvas, SEEN, panels.enlarged(GREY[glyph]))
        else:
            self._note(canvas, SEEN, "nothing")
        if verdict.probabilities is None:
            self._explain(canvas, verdict)
        else:
            self._bars(canvas, verdict.probabilities, verdict.digit)
        palette = PALETTES[verdict.status]
        red, green, blue = np.moveaxis(thumbnail, 2, 0)
        if np.array_equal(red, green) and np.array_equal(green, blue):
            put(canvas, ORIGINAL, panels.outline(panels.fitted(GREY[red]), mask, TINT[_FULL]))
            return png.encode(canvas, palette)
        # 256 colours are too few for a photo next to the rest of the picture. True colour takes
        # 3.3 ms instead of 1.7 ms (2 cores, 224x168 px photo).
        coloured = cv2.applyColorMap(canvas, palette[:, None]).astype(np.uint8, copy=False)
        colour = np.array(STATUS_COLOURS[verdict.status], np.uint8)
        put(coloured, ORIGINAL, panels.outline(panels.fitted(thumbnail), mask, colour))
        return png.encode(coloured)

    def _bars(self, canvas: Canvas, probabilities: tuple[float, ...], chosen: int | None) -> None:
        for index, probability in enumerate(probabilities):
            if index == chosen:
                bar, font, letters = TINT[_FULL], self._bold, TINT
                write(canvas, (_SAID.x, _BASELINES[index]), font, _LABELS[index], letters)
            else:
                bar, font, letters = GREY[_BAR], self._text, DARK_INK
            length = round(probability * _BARS.width)
            if length:
                top = _BAR_TOPS[index]
                canvas[top : top + _BARS.height, _BARS.x : _BARS.x + length] = bar
            value = format_percent(probability)
            right = _SAID.x + _SAID.width - font.width(value)
            write(canvas, (right, _BASELINES[index]), font, value, letters)

    def _explain(self, canvas: Canvas, verdict: Verdict) -> None:
        """Write why the model was not run, in place of the bars."""
        x, y, width, height = _SAID
        canvas[_CAPTION_Y - self._caption.ascent : y + height, x : x + width] = GREY[_FULL]
        write(canvas, (x, _CAPTION_Y), self._caption, "reason", PALE_INK)
        text = _EXPLANATIONS.get(verdict.reason, verdict.reason)
        write_paragraph(canvas, _SAID, self._text, text)

    def _note(self, canvas: Canvas, box: Box, text: str) -> None:
        """Write a note in the middle of an empty panel."""
        x = box.x + (box.width - self._text.width(text)) // 2
        baseline = box.y + (box.height + _CAPITAL) // 2
        write(canvas, (x, baseline), self._text, text, _NOTE_INK)


def _headline(verdict: Verdict) -> str:
    """Return the verdict in words, starting with the status."""
    if verdict.digit is None or verdict.confidence is None:
        return f"{verdict.status}: {_HEADLINES.get(verdict.reason, verdict.reason)}"
    said = f"{verdict.digit}, {format_percent(verdict.confidence)} sure"
    if verdict.status is Status.OK:
        return f"{verdict.status}: {said}"
    return f"{verdict.status}: perhaps {said} ({verdict.reason})"


def _background() -> Canvas:
    """Draw the background of all pictures: empty panels, captions, the tracks of the bars.

    Returns:
        (340, 768) uint8 colour indices.
    """
    with mpl.rc_context():
        mpl.rcdefaults()  # the user's matplotlibrc must not change the pictures
        figure = Figure(figsize=(WIDTH / _DPI, HEIGHT / _DPI), dpi=_DPI)
        agg = FigureCanvasAgg(figure)
        for box, caption in (
            (ORIGINAL, "original, ink outlined"),
            (SEEN, "what the model saw"),
            (_SAID, "probability of each digit"),
        ):
            # matplotlib snaps a thin line to the pixels on its right and below it. With these
            # corners the frame lies on the pixels around the box.
            left, top, right, bottom = box.x - 1, box.y - 1, box.x + box.width, box.y + box.height
            axes = figure.add_axes(
                (
                    left / WIDTH,
                    1 - bottom / HEIGHT,
                    (right - left) / WIDTH,
                    (bottom - top) / HEIGHT,
                ),
                xlim=(left, right),
                ylim=(bottom, top),
                xticks=(),
                yticks=(),
                facecolor=_hex(_EMPTY),
            )
            axes.set_title(
                caption,
                loc="left",
                size=11 * 72 / _DPI,
                color=_hex(PALE),
                family="DejaVu Sans",
                pad=4,
            )
            axes.spines[:].set(color=_hex(_FRAME), linewidth=72 / _DPI)
        axes.set_axis_off()
        axes.barh(_BAR_TOPS, _BARS.width, _BARS.height, _BARS.x, align="edge", color=_hex(_TRACK))
        agg.draw()  # type: ignore[no-untyped-call]
        pixels: NDArray[np.uint8] = np.asarray(agg.buffer_rgba())  # type: ignore[no-untyped-call]
        return GREY[pixels[..., 0]]


def _hex(level: int) -> str:
    return f"#{level:02x}{level:02x}{level:02x}"
