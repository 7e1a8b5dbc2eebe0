"""Notice that another model was promoted, or that the promoted one cannot be used."""

import logging
import math
from pathlib import Path

from daemon.config import Config
from daemon.errors import DigitdError, ModelError, WorkerStartError, describe
from daemon.models.current import find_model
from daemon.records import Stamp
from daemon.waiting import Timer

log = logging.getLogger(__name__)


class PromotionWatch:
    """Looks for a newly promoted model, as often as the inbox is listed.

    Attributes:
        fault: why the promoted model is not in use, and which one is; empty if it is in use.
    """

    def __init__(self, *, is_live: bool) -> None:
        """Start looking; never unless ``is_live``."""
        self.fault = ""
        self._is_live = is_live
        self._timer = Timer()
        self._tried: tuple[Path, Stamp] | None = None
        self._refused: tuple[Path, Stamp] | None = None

    @property
    def seconds_left(self) -> float:
        """How long until ``find`` looks again; inf for never."""
        return self._timer.seconds_left

    def look_now(self) -> None:
        """Look at the next call of ``find``, and try a refused model again."""
        self._timer.expire()
        self._refused = None

    def find(self, config: Config, in_use: Path) -> Path | None:
        """Return a promoted model that should be tried; ``None`` if there is none.

        Args:
            config: the settings in force.
            in_use: the file of the model that reads now.
        """
        if not self._timer.is_due:
            return None
        if not self._is_live or config.model is not None:
            self._timer.restart(math.inf)
            return None
        self._timer.restart(config.rescan_seconds)
        try:
            promoted = find_model(config)
            tried = promoted, Stamp.of(promoted.stat())
        except (OSError, DigitdError) as error:
            self._report(error, in_use)
            return None
        if promoted == in_use:
            self.fault, self._refused = "", None
            return None
        if tried == self._refused:
            return None
        self._tried = tried
        log.info("%s is to read from now on: trying it", promoted)
        return promoted

    def refuse(self, error: OSError | DigitdError, in_use: Path) -> None:
        """Report that the model that ``find`` returned cannot be used.

        It is not tried again until it changes, unless the fault may pass by itself.
        """
        if isinstance(error, ModelError) and not isinstance(error, WorkerStartError):
            self._refused = self._tried
        self._report(error, in_use)

    def _report(self, error: OSError | DigitdError, in_use: Path) -> None:
        fault = f"{describe(error)}; digitd continues with {in_use}, which it loaded before"
        if fault != self.fault:
            log.error("the promoted model cannot be used: %s", fault)
        self.fault = fault
