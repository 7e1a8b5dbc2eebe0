"""Wait for a condition, with a deadline."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Ten times the slowest wait with both cores busy.
DEADLINE_SECONDS = 60.0


def _sleep() -> None:
    time.sleep(0.02)


def until(
    condition: Callable[[], bool],
    what: str | Callable[[], str],
    seconds: float = DEADLINE_SECONDS,
    *,
    turn: Callable[[], object] = _sleep,
) -> None:
    """Wait for a condition.

    Args:
        condition: checked before each turn.
        what: named in the failure, or a function that says it when the time is over.
        seconds: the deadline.
        turn: called between two checks, for example a turn of the loop under test.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            said = what if isinstance(what, str) else what()
            raise AssertionError(f"not within {seconds:g} s: {said}")
        turn()
