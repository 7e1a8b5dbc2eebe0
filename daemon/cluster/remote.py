"""What runs in a worker of a cluster; its machine has the same digitd installed.

A worker is started with ``--preload daemon.cluster.remote``, see docs/cluster.md.
"""

import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from distributed import Worker, WorkerPlugin, get_worker

from daemon import __version__
from daemon.expected import load_values
from daemon.files import replace_whole
from daemon.records import FileContent, Reading, ReadOptions
from daemon.workers.worker import Read

# Tasks ask for this resource, so that a worker with another version of digitd gets none.
RESOURCE = f"digitd-{__version__}"
# The networks of a process read one image at a time.
_reading = threading.Lock()


async def dask_setup(worker: Worker) -> None:
    """Offer the resource; called when the worker starts, before it knows the scheduler."""
    worker.state.total_resources[RESOURCE] = worker.state.nthreads
    worker.state.available_resources[RESOURCE] = worker.state.nthreads


class SentFile(WorkerPlugin):
    """Writes a file once on each worker, also on those that join later."""

    def __init__(self, name: str, data: bytes) -> None:
        self.name = name
        self._data = data

    def setup(self, worker: Worker) -> None:
        """Write the file, whole."""
        replace_whole(Path(worker.local_directory) / self.name, self._data)


def read(
    read_here: Read, options: ReadOptions, values: str, contents: Sequence[FileContent]
) -> list[Reading]:
    """Read a batch in a worker.

    Args:
        read_here: reads it; see ``WorkerSettings.read``.
        options: the settings; the model is named like its ``SentFile``.
        values: the name of the ``SentFile`` with the values that are expected; empty if there are
            none.
        contents: the files.
    """
    folder = Path(get_worker().local_directory)
    options = replace(options, model=folder / options.model)
    with _reading:
        if values:
            options = replace(options, expected=_load_values(folder / values))
        return read_here(options, contents)


# 100,000 values take 0.1 s to load.
_load_values = lru_cache(maxsize=1)(load_values)
