"""A worker of another digitd: ``--preload support.other_version``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed import Worker


async def dask_setup(worker: Worker) -> None:
    worker.state.total_resources["digitd-0.0.9"] = 1
    worker.state.available_resources["digitd-0.0.9"] = 1
