"""Have images decoded in a process of their own, which is replaced when it dies or hangs."""

import multiprocessing
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

from daemon.config import Config
from daemon.review import decoder
from daemon.review.decoder import Decoded, Order

_TIMEOUT_SECONDS = 20.0  # many times the slowest real image


class Images:
    """Decodes the files that rows name, one at a time."""

    def __init__(self, config: Config) -> None:
        self._outbox: Path = config.outbox
        self._limits = config.max_megapixels, config.max_file_mb
        self._lock = threading.Lock()
        self._process: SpawnProcess | None = None
        self._connection: Connection | None = None

    def decode(self, order: Order) -> Decoded:
        """Return an image as the page may show it."""
        with self._lock:
            connection = self._connected()
            try:
                connection.send(order)
                if connection.poll(_TIMEOUT_SECONDS):
                    decoded: Decoded = connection.recv()
                    return decoded
            except (EOFError, OSError):  # the process died
                pass
            self._end()
            return Decoded(fault="the file cannot be shown: it stopped the decoder")

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _connected(self) -> Connection:
        if self._connection is not None and self._process is not None and self._process.is_alive():
            return self._connection
        self._end()
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=decoder.main, args=(theirs, self._outbox, *self._limits), daemon=True
        )
        self._process.start()
        theirs.close()
        return self._connection

    def _end(self) -> None:
        if self._connection is not None:
            with suppress(OSError):
                self._connection.close()
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
        self._connection = self._process = None
