"""Detect that the wall clock jumped ahead, so that no file is deleted because of a wrong date.

The wall clock is compared with the kernel's boot clock, which nobody can set. The clocks are saved
also without ``keep_days``, so that a jump is known when the key is set later.
"""

import json
import logging
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from daemon.files import replace_whole
from daemon.layout import CLOCKS

log = logging.getLogger(__name__)

FIRST_RELEASE = datetime(2026, 11, 21, tzinfo=UTC)  # an earlier date is wrong
_DAY_SECONDS = 86400.0
_JUMP_SECONDS = 2 * _DAY_SECONDS
_HOLD_SECONDS = _DAY_SECONDS
_NUMBERS = ("wall", "boot", "running", "hold")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def read_boot_id() -> str:
    """Return what identifies this boot of this machine; empty if a container hides it."""
    with suppress(OSError):
        return _BOOT_ID.read_text(encoding="ascii").strip()
    return ""


@dataclass(frozen=True, slots=True)
class Clocks:
    """The machine's clocks at one moment, in seconds.

    Attributes:
        wall: Unix time, which may be wrong.
        boot: since the boot, including suspend.
        running: since the boot, without suspend.
        boot_id: identifies the boot; empty if a container hides it.
        hold: how long the machine must still run until the wall clock is trusted.
    """

    wall: float
    boot: float
    running: float
    boot_id: str
    hold: float = 0.0

    @classmethod
    def read(cls) -> Self:
        """Return the clocks now, with a trusted wall clock."""
        boot, running = map(time.clock_gettime, (time.CLOCK_BOOTTIME, time.CLOCK_MONOTONIC))
        return cls(time.time(), boot, running, read_boot_id())

    def jump_since(self, last: Self) -> float:
        """Return how far the wall clock moved further than the boot clock since ``last``.

        Time during which the machine was off counts, because no clock has measured it.
        """
        passed = self.boot - last.boot if self._is_boot_of(last) else self.boot
        return self.wall - last.wall - passed

    def after(self, last: Self) -> Self:
        """Return these clocks with the hold that follows from ``last``."""
        if self.jump_since(last) > _JUMP_SECONDS:
            return replace(self, hold=_HOLD_SECONDS)
        ran = self.running - last.running if self._is_boot_of(last) else self.running
        return replace(self, hold=max(0.0, last.hold - ran))

    def _is_boot_of(self, last: Self) -> bool:
        # Without ids, a reboot that is not noticed makes a jump look longer, which is safe.
        return self.boot_id == last.boot_id and self.boot >= last.boot


def check(outbox: Path, *, report: bool = True) -> float:
    """Compare the clocks with those of the last call; return for how long not to trust them.

    Args:
        outbox: has the saved clocks.
        report: whether to log a jump.

    Raises:
        OSError: the clocks cannot be saved for the next call.
    """
    clocks, last = Clocks.read(), _load(outbox)
    if last is not None:
        jump = clocks.jump_since(last)
        clocks = clocks.after(last)
        if report and jump > _JUMP_SECONDS:
            log.error(
                "since the last check the clock went %.1f days ahead of the time that the machine "
                "was on: keep_days deletes no file during the next %.0f hours of running; set the "
                "clock if %s UTC is wrong",
                jump / _DAY_SECONDS,
                _HOLD_SECONDS / 3600,
                f"{datetime.fromtimestamp(clocks.wall, UTC):%Y-%m-%d %H:%M}",
            )
    # A board without a battery starts in 1970 at each boot. Setting its clock must not be a jump.
    if clocks.wall >= FIRST_RELEASE.timestamp():
        replace_whole(outbox / CLOCKS, json.dumps(asdict(clocks)).encode(), durable=True)
    return clocks.hold


def _load(outbox: Path) -> Clocks | None:
    """Return the clocks of the last call; ``None`` if there are none or they are damaged."""
    try:
        saved = json.loads((outbox / CLOCKS).read_text(encoding="ascii"))
        wall, boot, running, hold = (float(saved[key]) for key in _NUMBERS)
        return Clocks(wall, boot, running, str(saved["boot_id"]), hold)
    except (OSError, ValueError, KeyError, TypeError):
        return None
