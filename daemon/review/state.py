"""What all requests share."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from daemon.config import Config
from daemon.review import queries
from daemon.review.answers import Answers
from daemon.review.follow import Follower
from daemon.review.images import Images
from daemon.review.security import Access


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
