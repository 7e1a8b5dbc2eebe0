"""The files that travel with the program: the shipped model, a known digit, templates."""

from pathlib import Path

_HERE = Path(__file__).parent

SHIPPED_MODEL = _HERE / "digits.keras"
KNOWN_DIGIT_PNG = _HERE / "known-digit.png"
KNOWN_DIGIT = 7  # what every worker must read in KNOWN_DIGIT_PNG before it is said to be ready
CONFIG_TEMPLATE = _HERE / "config.yaml"
UNIT_TEMPLATE = _HERE / "digitd.service"
