"""What the functions of the page share."""

from collections.abc import Callable
from dataclasses import dataclass

from daemon.config import Config
from daemon.review.access import Access
from daemon.review.answers import Answers
from daemon.review.images import Images
from daemon.review.index import Index
from daemon.review.indexer import Indexer


@dataclass(frozen=True, slots=True)
class Site:
    """One outbox and who may see it.

    Attributes:
        user: the name in labels.csv of a person who gave none.
        is_stopping: returns whether the server is about to end.
    """

    config: Config
    access: Access
    index: Index
    indexer: Indexer
    images: Images
    answers: Answers
    user: str
    is_stopping: Callable[[], bool]
