"""Paths of the files shipped with the program: the model, a known digit, templates."""

from pathlib import Path

_HERE = Path(__file__).parent

SHIPPED_MODEL = _HERE / "digits.keras"
KNOWN_DIGIT_PNG = _HERE / "known-digit.png"
KNOWN_DIGIT = "7"  # a worker is ready only after it reads this in KNOWN_DIGIT_PNG
CONFIG_TEMPLATE = _HERE / "config.yaml"
UNIT_TEMPLATE = _HERE / "digitd.service"
REVIEW_UNIT_TEMPLATE = _HERE / "digitd-review.service"
SCHEDULER_UNIT_TEMPLATE = _HERE / "digitd-scheduler.service"
WORKER_UNIT_TEMPLATE = _HERE / "digitd-worker@.service"
SANDBOX = _HERE / "sandbox.conf"  # of all units; see systemd/units.py for the differences
REPLAY_PACK = _HERE / "replay.npz"
REGRESSION_PACK = _HERE / "regression.npz"
