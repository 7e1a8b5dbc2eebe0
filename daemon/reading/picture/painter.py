"""The annotated picture of one reading: the original, what the model saw, its answer."""

import logging
from typing import NamedTuple

import cv2
import numpy as np

from daemon.reading.picture import panels, png
from daemon.records import DIGITS, Status

# Without a writable home or MPLCONFIGDIR, matplotlib warns at import that it caches in a
# temporary folder. For a daemon's user that is normal.
logging.getLogger("matplotlib").setLevel(logging.ERROR)

import matplotlib as mpl  # noqa: E402 - after its logger is set
from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from daemon.reading.picture.text import OVERHANG, Font, shorten, wrap  # noqa: E402
from daemon.records import Verdict  # noqa: E402


class _Box(NamedTuple):
    """A rectangle of the picture in pixels, ``y`` downwards."""

    x: int
    y: int
    width: int
    height: int


_WIDTH, _HEIGHT, _DPI = 640, 280, 100
_MARGIN = 16
_TOP = 72
_ORIGINAL = _Box(_MARGIN, _TOP, panels.SIDE, panels.SIDE)
_SEEN = _Box(_ORIGINAL.x + panels.SIDE + 14, _TOP, panels.SIDE, panels.SIDE)
_SAID_X = _SEEN.x + panels.SIDE + 18
_SAID = _Box(_SAID_X, _TOP, _WIDTH - _MARGIN - _SAID_X, panels.SIDE)
# Within it: the labels, their bars, and the values in a column of their own on the right.
_LABELS = (*map(str, range(DIGITS)), "none")
_LABEL_WIDTH, _VALUE_WIDTH, _BAR_HEIGHT = 34, 58, 13
_BARS = _Box(_SAID.x + _LABEL_WIDTH, _TOP, _SAID.width - _LABEL_WIDTH - _VALUE_WIDTH, _BAR_HEIGHT)
_BAR_TOPS = [
    _TOP + round((i + 0.5) * panels.SIDE / len(_LABELS) - _BAR_HEIGHT / 2)
    for i in range(len(_LABELS))
]
# Baselines of the text above the panels.
_TITLE_Y, _NAME_Y, _CAPTION_Y = 25, 45, _TOP - 7
_CAPITAL = 9  # pixels that a digit of 12 px text is tall

# Colour indices. The pictures are grey but for the colour of the status, so the first 224
# indices are greys (a grey photo loses at most 1 of its 255 levels) and the last 32 lead from
# white to that colour, for the soft edges of its letters.
_GREYS, _TINTS = 224, 32
_GREY = np.round(np.arange(256) * (_GREYS - 1) / 255).astype(np.uint8)  # grey level -> index
_TINT = (_GREYS + np.arange(256) * (_TINTS - 1) // 255).astype(np.uint8)  # coverage -> index
_FULL = 255
# Grey levels, 0 black.
_FRAME, _EMPTY, _TRACK, _BAR, _PALE, _DARK = 200, 240, 236, 150, 110, 40
# Text in them has a contrast of at least 4.5 to 1 on white. With each kind of colour blindness
# (simulated after Machado et al. 2009) any two lie 24 or more apart in CIELAB, where the usual
# green and red come as close as 13. The title says the status in words as well.
_STATUS_COLOURS = {
    Status.OK: (0, 126, 90),
    Status.UNSURE: (172, 98, 0),
    Status.ERROR: (158, 10, 35),
}


def _palette(colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    greys = np.linspace(0, 255, _GREYS)[:, None].repeat(3, axis=1)
    tints = np.linspace((_FULL,) * 3, colour, _TINTS)
    return np.round(np.concatenate([greys, tints])).astype(np.uint8)


def _ink(level: int, paper: int = _FULL) -> NDArray[np.uint8]:
    """Return (256,) indices by coverage: from the paper's grey level to the ink's."""
    return _GREY[np.linspace(paper, level, 256).round().astype(np.uint8)]


_PALETTES = {status: _palette(colour) for status, colour in _STATUS_COLOURS.items()}
_DARK_INK, _PALE_INK, _NOTE_INK = _ink(_DARK), _ink(_PALE), _ink(_PALE, paper=_EMPTY)

_ALMOST_ONE = 0.9995  # from here on a tenth of a percent would be rounded to certainty
# More than fits into the panel.
_LONGEST_REASON = 1000


class Painter:
    """Draws pictures of 640x280 px; matplotlib draws the part that all share, once."""

    def __init__(self) -> None:
        self._title = Font("DejaVuSans-Bold", 17)
        self._text = Font("DejaVuSans", 12)
        self._bold = Font("DejaVuSans-Bold", 12)
        self._caption = Font("DejaVuSans", 11)
        self._background = _background()

    def paint(
        self,
        name: str,
        verdict: Verdict,
        *,
        thumbnail: NDArray[np.uint8] | None,
        glyph: NDArray[np.uint8] | None,
        mask: NDArray[np.uint8] | None = None,
    ) -> bytes:
        """Return the picture of one reading as a whole PNG file.

        Args:
            name: the file's name; any string, of any length.
            verdict: what is said of the file.
            thumbnail: (h, w, 3) uint8 RGB, the original made small enough to show; ``None``
                where it could not be read.
            glyph: (28, 28) uint8, white ink on black, what the model saw; ``None`` where
                there was nothing to show it.
            mask: (H, W) uint8, 1 on the ink that was found, in the thumbnail's proportions;
                outlined on the thumbnail in the colour of the status.
        """
        canvas = self._background.copy()
        self._head(canvas, name, verdict)
        if glyph is None or not glyph.any():
            self._note(canvas, _SEEN, "no picture")
        else:
            _put(canvas, _SEEN, panels.enlarged(_GREY[glyph]))
        if verdict.probabilities is None:
            self._explain(canvas, verdict)
        else:
            self._bars(canvas, verdict.probabilities, verdict.digit)
        palette = _PALETTES[verdict.status]
        if thumbnail is None:
            self._note(canvas, _ORIGINAL, "not readable")
            return png.encode(canvas, palette)
        red, green, blue = np.moveaxis(thumbnail, 2, 0)
        if np.array_equal(red, green) and np.array_equal(green, blue):
            _put(canvas, _ORIGINAL, panels.outlined(panels.fitted(_GREY[red]), mask, _TINT[_FULL]))
            return png.encode(canvas, palette)
        # 256 colours are too few for a photo beside the rest. True colours for the lot take
        # 3.3 ms instead of 1.7 (2 cores, 224x168 px photo).
        coloured = cv2.applyColorMap(canvas, palette[:, None]).astype(np.uint8, copy=False)
        colour = np.array(_STATUS_COLOURS[verdict.status], np.uint8)
        _put(coloured, _ORIGINAL, panels.outlined(panels.fitted(thumbnail), mask, colour))
        return png.encode(coloured)

    def _head(self, canvas: NDArray[np.uint8], name: str, verdict: Verdict) -> None:
        width = _WIDTH - 2 * _MARGIN
        title = wrap(self._title, self._title.shown(_headline(verdict)), width, lines=1)
        _write(canvas, (_MARGIN, _TITLE_Y), self._title, title[0], _TINT)
        shown = shorten(self._text, self._text.shown(name), width)
        _write(canvas, (_MARGIN, _NAME_Y), self._text, shown, _DARK_INK)

    def _bars(
        self, canvas: NDArray[np.uint8], probabilities: tuple[float, ...], chosen: int | None
    ) -> None:
        for label, top, probability in zip(_LABELS, _BAR_TOPS, probabilities, strict=True):
            length = round(probability * _BARS.width)
            if label == str(chosen):
                bar, font, ink = _TINT[_FULL], self._bold, _TINT
            else:
                bar, font, ink = _GREY[_BAR], self._text, _DARK_INK if length else _PALE_INK
            canvas[top : top + _BARS.height, _BARS.x : _BARS.x + length] = bar
            value = _percent(probability)
            baseline = top + (_BARS.height + _CAPITAL) // 2
            right = _SAID.x + _SAID.width - font.width(value)
            _write(canvas, (_SAID.x, baseline), font, label, ink)
            _write(canvas, (right, baseline), font, value, ink)

    def _explain(self, canvas: NDArray[np.uint8], verdict: Verdict) -> None:
        """Write the reason where the bars would be."""
        text = _reason(verdict)
        if verdict.status is not Status.ERROR:
            text = f"{text}: there is no digit to show to the model"
        x, y, width, height = _SAID
        canvas[_CAPTION_Y - self._caption.ascent : y + height, x : x + width] = _GREY[_FULL]
        _write(canvas, (x, _CAPTION_Y), self._caption, "reason", _PALE_INK)
        room = height // self._text.height
        for i, line in enumerate(wrap(self._text, self._text.shown(text), width, room)):
            baseline = y + self._text.ascent + i * self._text.height
            _write(canvas, (x, baseline), self._text, line, _DARK_INK)

    def _note(self, canvas: NDArray[np.uint8], box: _Box, text: str) -> None:
        """Write a note into the middle of an empty panel."""
        x = box.x + (box.width - self._text.width(text)) // 2
        baseline = box.y + (box.height + _CAPITAL) // 2
        _write(canvas, (x, baseline), self._text, text, _NOTE_INK)


def _headline(verdict: Verdict) -> str:
    """Return the verdict in words, the status first."""
    if verdict.status is Status.ERROR:
        return "error: could not be read"
    if verdict.digit is None or verdict.confidence is None:
        return f"{verdict.status}: {_reason(verdict)}"
    said = f"{verdict.digit}, {_percent(verdict.confidence)} sure"
    if verdict.status is Status.OK:
        return f"{verdict.status}: {said}"
    return f"{verdict.status}: perhaps {said} ({_reason(verdict)})"


def _reason(verdict: Verdict) -> str:
    """Return the reason as one line, cut if it is very long."""
    return " ".join(verdict.reason[:_LONGEST_REASON].split())


def _percent(probability: float) -> str:
    """Return a probability as a person reads it, never as a certainty."""
    return f"{probability:.1%}" if probability < _ALMOST_ONE else ">99.9%"


def _write(
    canvas: NDArray[np.uint8],
    start: tuple[int, int],
    font: Font,
    text: str,
    ink: NDArray[np.uint8],
) -> None:
    """Write a line of drawable text over what was there; ``start`` is on its baseline."""
    x, y = start[0] - OVERHANG, start[1] - font.ascent
    line = ink[font.line(text)]
    canvas[y : y + line.shape[0], x : x + line.shape[1]] = line


def _put(canvas: NDArray[np.uint8], box: _Box, pixels: NDArray[np.uint8]) -> None:
    """Put pixels into the middle of a box that is large enough for them."""
    height, width = pixels.shape[:2]
    x, y = box.x + (box.width - width) // 2, box.y + (box.height - height) // 2
    canvas[y : y + height, x : x + width] = pixels


def _background() -> NDArray[np.uint8]:
    """Draw what all pictures share: the empty panels, their captions, the bars' tracks.

    Returns:
        (280, 640) uint8 colour indices.
    """
    with mpl.rc_context():
        mpl.rcdefaults()  # a person's matplotlibrc is for their own plots
        figure = Figure(figsize=(_WIDTH / _DPI, _HEIGHT / _DPI), dpi=_DPI)
        agg = FigureCanvasAgg(figure)
        for box, caption in (
            (_ORIGINAL, "original, ink outlined"),
            (_SEEN, "what the model saw"),
            (_SAID, "probability of each digit"),
        ):
            # matplotlib moves a thin line onto the pixels right of it and below it: these two
            # corners put the frame on the pixels around the box.
            left, top, right, bottom = box.x - 1, box.y - 1, box.x + box.width, box.y + box.height
            axes = figure.add_axes(
                (
                    left / _WIDTH,
                    1 - bottom / _HEIGHT,
                    (right - left) / _WIDTH,
                    (bottom - top) / _HEIGHT,
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
                color=_hex(_PALE),
                family="DejaVu Sans",
                pad=4,
            )
            axes.spines[:].set(color=_hex(_FRAME), linewidth=72 / _DPI)
        axes.set_axis_off()
        axes.barh(_BAR_TOPS, _BARS.width, _BARS.height, _BARS.x, align="edge", color=_hex(_TRACK))
        agg.draw()  # type: ignore[no-untyped-call]
        pixels: NDArray[np.uint8] = np.asarray(agg.buffer_rgba())  # type: ignore[no-untyped-call]
        return _GREY[pixels[..., 0]]


def _hex(level: int) -> str:
    return f"#{level:02x}{level:02x}{level:02x}"
