"""The stream of events: counts, new rows, answers given elsewhere."""

import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio

from daemon import ids
from daemon.records import Status
from daemon.review import queries
from daemon.review.index import IN_SAMPLE, Index
from daemon.review.indexer import Indexer

_PAUSE_SECONDS = 0.25
_HEARTBEAT_SECONDS = 15.0
_MOST_ROWS = 50  # in one event; a page that shows more must be loaded again anyway


def state(index: Index, indexer: Indexer) -> dict[str, Any]:
    """Return the counts that every page shows.

    Raises:
        sqlite3.Error: the index is being made anew.
    """
    figures, progress = index.figures, indexer.progress
    return {
        "rows": figures.rows,
        **{status.value: figures.count(status) for status in Status},
        "to_check": figures.count(Status.UNSURE, answered=False),
        "sample": queries.queued(index.reader(), IN_SAMPLE),
        "answered": figures.answered,
        "indexing": None if progress is None else progress.percent,
    }


async def stream(
    index: Index, indexer: Indexer, is_stopping: Callable[[], bool]
) -> AsyncIterator[str]:
    """Yield server-sent events until the server stops or the browser goes away."""
    seen = index.changes[-1].number if index.changes else 0
    version: object = None
    quiet = 0.0
    yield "retry: 1000\n\n"
    while not is_stopping():
        now = index.version, indexer.progress
        if now != version:
            version, quiet = now, 0.0
            try:
                event, seen = await anyio.to_thread.run_sync(_event, index, indexer, seen)
                yield event
            except sqlite3.Error:
                version = None
        elif quiet >= _HEARTBEAT_SECONDS:
            quiet = 0.0
            yield ": still here\n\n"
        await anyio.sleep(_PAUSE_SECONDS)
        quiet += _PAUSE_SECONDS


def _event(index: Index, indexer: Indexer, seen: int) -> tuple[str, int]:
    """Return what changed since the change ``seen``, and the number of the last change."""
    changes = [one for one in list(index.changes) if one.number > seen][-_MOST_ROWS:]
    numbers = [ids.decode(one.id) for one in changes]
    new = {one.id for one in changes if one.is_new}
    cards = [
        {
            "id": card.id,
            "file": card.file,
            "status": card.status,
            "digit": card.digit,
            "confidence": card.confidence,
            "label": card.label,
            "new": card.id in new,
        }
        for card in queries.cards(index.reader(), list(dict.fromkeys(numbers)))
    ]
    data = json.dumps({"state": state(index, indexer), "rows": cards}, ensure_ascii=False)
    return f"data: {data}\n\n", changes[-1].number if changes else seen
