"""What runs in a worker process; importable without TensorFlow, which only a call brings in."""

from __future__ import annotations

import os
import signal
import threading
from multiprocessing import parent_process
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daemon.records import Parcel, Reading, ReadOptions


def settle_in(threads: int) -> None:
    """Prepare a new worker process: it dies with its daemon and by nothing else.

    Args:
        threads: how many TensorFlow may use in this process.
    """
    # A terminal's Ctrl-C and a service manager's stop reach every process of the group; the
    # daemon alone decides what becomes of the batch in hand.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # libpng, libjpeg and OpenCV complain of broken files there, naming none. What matters comes
    # back in the reading, or as the way in which the process ended.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(threads)
    os.environ["TF_NUM_INTEROP_THREADS"] = "1"
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGKILL)


def read(options: ReadOptions, parcels: Sequence[Parcel]) -> list[Reading]:
    """Read a batch, as ``reader.read`` does."""
    from daemon.reading import reader  # noqa: PLC0415 - 3 s and 600 MB, which the daemon never pays

    return reader.read(options, parcels)
