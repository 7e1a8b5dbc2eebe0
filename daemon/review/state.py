"""What all requests share."""

import sqlite3
from collections.abc import Callable
from dataclasses import asdict, dataclass

from daemon.config import Config
from daemon.outbox.retention import load_deletions
from daemon.records import Reads
from daemon.review import queries, unseen
from daemon.review.activity import ActivityWatch, ConfigFile
from daemon.review.answers import Answers
from daemon.review.follow import Follower
from daemon.review.images import Images
from daemon.review.security import Access

_PATIENCE_SECONDS = 1.0  # until stored answers are indexed, which takes some milliseconds


@dataclass(frozen=True, slots=True)
class AppState:
    """One outbox and who may see it.

    Attributes:
        config_file: has the settings.
        user: the name in labels.csv of a person who gave none.
        activity: says what the daemon is doing.
        is_stopping: returns whether the server is about to end.
    """

    config_file: ConfigFile
    access: Access
    follower: Follower
    images: Images
    answers: Answers
    user: str
    activity: ActivityWatch
    is_stopping: Callable[[], bool]

    @property
    def config(self) -> Config:
        """The settings now."""
        return self.config_file.current

    @property
    def db(self) -> sqlite3.Connection:
        """This thread's connection to the index."""
        return self.follower.index.reader()

    @property
    def reads(self) -> Reads:
        """Whether images have digits or numbers."""
        return self.config.reads

    @property
    def is_indexing(self) -> bool:
        """Whether many rows are being indexed, so that no page of the gallery can be shown."""
        return self.follower.percent is not None

    @property
    def deleted_through(self) -> str:
        """The highest id of a row whose files digitd may have deleted; empty for none."""
        return load_deletions(self.config.outbox).through

    def count_unseen(self) -> int | None:
        """Return how many sure rows nobody has looked at, of those whose files are there.

        ``None`` while rows, or answers that are stored, are being indexed.

        Raises:
            sqlite3.Error: the index is being rebuilt.
            OSError: the outbox is missing.
        """
        self.config.outbox.stat()
        are_indexed = self.follower.wait_for_answers(_PATIENCE_SECONDS)
        if self.is_indexing or not are_indexed:
            return None
        return unseen.count(self.db, self.deleted_through)

    def counts(self) -> dict[str, int | str | None]:
        """Return what every page shows: counts, what the daemon is doing, and what it reads.

        Raises:
            sqlite3.Error: the index is being rebuilt.
        """
        counts = queries.counts(self.db)
        activity = asdict(self.activity.current())
        return {**counts, **activity, "indexing": self.follower.percent, "reads": self.reads}
