"""Processes that compose what the networks learn from; they end with the training."""

import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from daemon.workers.worker import die_with_parent

_STOPS = (signal.SIGINT, signal.SIGTERM)


def open_processes(
    number: int | None = None, prepare: Callable[[], object] = bool
) -> ProcessPoolExecutor:
    """Return a pool of processes, which end with this one, however it ends.

    Args:
        number: of processes; by default one for each core.
        prepare: called in each process before anything else; must be picklable.
    """
    # Spawn, because TensorFlow's threads may not survive a fork.
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(number, spawn, _begin, (prepare,))


def _begin(prepare: Callable[[], object]) -> None:
    # Ctrl-C in a terminal reaches every process of the group; only the training prints a message.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=die_with_parent, daemon=True).start()
    prepare()


@contextmanager
def interruptible() -> Iterator[None]:
    """Make SIGINT and SIGTERM end all processes and raise KeyboardInterrupt.

    A pool that is closed waits for what its processes are doing, which may take minutes.
    """
    stopped = False

    def stop(_number: int, _frame: FrameType | None) -> NoReturn:
        nonlocal stopped
        stopped = True
        # Python 3.11's pool prints a traceback on a thread if its processes die while it is closed.
        threading.excepthook = lambda _: None
        for process in multiprocessing.active_children():
            process.kill()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in _STOPS}
    try:
        yield
    except BaseException:
        # A pool that was interrupted while it starts its thread fails as it is closed.
        if stopped:
            raise KeyboardInterrupt from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
