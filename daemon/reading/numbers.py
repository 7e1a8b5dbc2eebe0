"""Judge whether what the line reader read is a number, and how sure that is."""

from dataclasses import replace

from daemon.reading.line import STRANGE, LineReading
from daemon.reading.model import LineCalibration
from daemon.records import DIGITS, Doubt, Status, Symbol, Verdict, is_number

FILLED_FIELD = f"{Doubt.LOW_CONFIDENCE}: a dash fills the field"
TWO_NUMBERS = f"{Doubt.LOW_CONFIDENCE}: a wide gap, perhaps two numbers"
_DASH = "-"
_TINY = 1e-12  # keeps quotients finite
_NAMES = {
    "": "nothing",
    ".": "full stop",
    ",": "comma",
    _DASH: "dash",
    "/": "slash",
    ":": "colon",
    STRANGE: "something else",
}


def judge_number(
    reading: LineReading,
    calibration: LineCalibration,
    unsure_below: float,
    *,
    left_out: float,
    dash_fills_field: bool,
    has_space: bool,
) -> Verdict:
    """Return the verdict on an image of a number.

    Args:
        reading: what the line reader read.
        calibration: the line reader's.
        unsure_below: a verdict with less confidence is ``unsure``.
        left_out: the highest probability of ink that is not in the strip.
        dash_fills_field: whether a dash at the beginning is no minus. One at the end never is.
        has_space: whether there may be two numbers.
    """
    confidence = calibration.confidence(
        reading.log_probability, reading.margin, len(reading.text), left_out
    )
    text = reading.text.removesuffix(_DASH).removesuffix(".")
    if dash_fills_field:
        text = text.removeprefix(_DASH)
    if not is_number(text):
        verdict = Verdict(Status.UNSURE, reason=Doubt.NOT_A_NUMBER)
    elif text != reading.text:
        verdict = Verdict(Status.UNSURE, text, confidence, reason=FILLED_FIELD)
    elif has_space:
        verdict = Verdict(Status.UNSURE, text, confidence, reason=TWO_NUMBERS)
    elif confidence < unsure_below:
        verdict = Verdict(Status.UNSURE, text, confidence, reason=_name_doubt(reading.symbols))
    else:
        verdict = Verdict(Status.OK, text, confidence)
    return replace(verdict, probabilities=_list_probabilities(reading, verdict))


def _name_doubt(symbols: tuple[Symbol, ...]) -> str:
    """Return the reason for little confidence, with the symbol that is the most doubtful."""
    doubtful = min(symbols, key=lambda symbol: symbol.confidence)
    if doubtful.alternative is None:
        return Doubt.LOW_CONFIDENCE
    kind = "digit" if doubtful.text.isdigit() else "mark"
    alike = [each for each in symbols if each.text.isdigit() == doubtful.text.isdigit()]
    place = next(index for index, each in enumerate(alike, 1) if each is doubtful)
    here, instead = _name(doubtful.text), _name(doubtful.alternative)
    return f"{Doubt.LOW_CONFIDENCE}: {kind} {place} of {len(alike)}, {here} or {instead}"


def _name(text: str) -> str:
    """Return digits as they are, the name of a mark, and anything longer in quotes."""
    return text if text.isdigit() else _NAMES.get(text, f"'{text}'")


def _list_probabilities(reading: LineReading, verdict: Verdict) -> tuple[float, ...] | None:
    """Return the probabilities of the ten digits and of anything else, if they say something.

    They are exact as the network sees it. The one of the verdict's digit becomes its confidence,
    and the others are scaled, so that they stay less.
    """
    digits = [float(each) for each in reading.singles[:DIGITS]]
    if verdict.text is not None and verdict.confidence is not None:
        if len(verdict.text) > 1:
            return None
        digit, confidence = int(verdict.text), verdict.confidence
        known = digits[digit]
        others = (
            (1 - confidence) / max(1 - known, _TINY)
            if confidence > known
            else (confidence / max(known, _TINY))
        )
        digits = [each * others for each in digits]
        digits[digit] = confidence
    return (*digits, max(0.0, 1 - sum(digits)))
