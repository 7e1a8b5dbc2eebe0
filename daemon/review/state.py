"""What all requests share, and the server-sent events that tell browsers what changed."""

import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass

import anyio

from daemon import ids
from daemon.config import Config
from daemon.review import queries
from daemon.review.answers import Answers
from daemon.review.follow import Follower
from daemon.review.images import Images
from daemon.review.security import Access

_POLL_SECONDS = 0.25
_HEARTBEAT_SECONDS = 15.0
_MOST_ROWS = 50  # in one event; a page that shows more must be loaded again anyway


@dataclass(frozen=True, slots=True)
class AppState:
    """One outbox and who may see it.

    Attributes:
        user: the name in labels.csv of a person who gave none.
        is_stopping: returns whether the server is about to end.
    """

    config: Config
    access: Access
    follower: Follower
    images: Images
    answers: Answers
    user: str
    is_stopping: Callable[[], bool]

    @property
    def db(self) -> sqlite3.Connection:
        """This thread's connection to the index."""
        return self.follower.index.reader()

    @property
    def is_indexing(self) -> bool:
        """Whether many rows are being indexed, so that no page of the gallery can be shown."""
        return self.follower.percent is not None

    def counts(self) -> dict[str, int | None]:
        """Return the counts that every page shows.

        Raises:
            sqlite3.Error: the index is being rebuilt.
        """
        return queries.counts(self.db) | {"indexing": self.follower.percent}

    async def events(self) -> AsyncIterator[str]:
        """Yield server-sent events until the server stops or the browser goes away."""
        changes = self.follower.changes
        seen = changes[-1].number if changes else 0
        version: object = None
        quiet = 0.0
        yield "retry: 1000\n\n"
        while not self.is_stopping():
            now = self.follower.version, self.follower.percent
            if now != version:
                version, quiet = now, 0.0
                try:
                    event, seen = await anyio.to_thread.run_sync(self._event, seen)
                    yield event
                except sqlite3.Error:
                    version = None
            elif quiet >= _HEARTBEAT_SECONDS:
                quiet = 0.0
                yield ": still here\n\n"
            await anyio.sleep(_POLL_SECONDS)
            quiet += _POLL_SECONDS

    def _event(self, seen: int) -> tuple[str, int]:
        """Return what changed since the change ``seen``, and the number of the last change."""
        changes = [one for one in list(self.follower.changes) if one.number > seen][-_MOST_ROWS:]
        new = {ids.encode(one.row) for one in changes if one.is_new}
        cards = queries.cards(self.db, {one.row for one in changes})
        rows = [asdict(card) | {"new": card.id in new} for card in cards]
        data = json.dumps({"state": self.counts(), "rows": rows}, ensure_ascii=False)
        return f"data: {data}\n\n", changes[-1].number if changes else seen
