"""The JSON API of the look-through: a page of sure answers, and what a person says about it."""

import logging
from dataclasses import asdict

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from daemon import ids
from daemon.errors import DigitdError, describe
from daemon.review import unseen
from daemon.review.answers import MOST_ON_PAGE, SubmittedPage
from daemon.review.api import read_json
from daemon.review.state import AppState

log = logging.getLogger(__name__)

_MOST_BODY_BYTES = 200 * MOST_ON_PAGE  # an id, and two labels of at most 32 characters


class LookThrough:
    """The JSON routes of the look-through of one outbox."""

    def __init__(self, state: AppState) -> None:
        self._state = state

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/api/unseen", self.unseen),
            Route("/api/unseen/count", self.count),
            Route("/api/seen", self.store, methods=["POST"]),
        ]

    def unseen(self, request: Request) -> Response:
        """Return the next sure rows after a row that nobody has looked at."""
        after, limit = (request.query_params.get(name, "") for name in ("after", "limit"))
        if after and not ids.PATTERN.fullmatch(after):
            raise HTTPException(400, "after: must be the id of a row")
        if not (limit.isascii() and limit.isdecimal() and 0 < int(limit) <= MOST_ON_PAGE):
            raise HTTPException(400, f"limit: must be 1 to {MOST_ON_PAGE}")
        left = self._count()  # first: it waits until the last page's answers count
        tiles = unseen.page(self._state.db, after, self._state.deleted_through, int(limit))
        self._state.follower.index.shown.add(
            ids.decode(tile.id) for tile in tiles if tile.is_sample
        )
        return JSONResponse({"tiles": [asdict(tile) for tile in tiles], "unseen": left})

    def count(self, _request: Request) -> Response:
        """Return how many sure rows nobody has looked at, after all answers that are stored."""
        return JSONResponse({"unseen": self._count()})

    def _count(self) -> int:
        if (count := self._state.count_unseen()) is None:
            raise HTTPException(503, "predictions.csv and labels.csv are being read: try again")
        return count

    async def store(self, request: Request) -> Response:
        """Store the answers to a page; the response is sent when they are on the disk."""
        data = await read_json(request, _MOST_BODY_BYTES)
        try:
            page = SubmittedPage.parse(data, self._state.user, self._state.reads)
            stored, others = await anyio.to_thread.run_sync(self._state.answers.store_page, page)
        except ValueError as error:
            raise HTTPException(400, str(error)) from None
        except (DigitdError, OSError) as error:
            log.warning("answers could not be stored: %s", describe(error))
            return JSONResponse({"error": describe(error)}, 507)
        overtaken = [item.as_json() for item in others]
        return JSONResponse({"stored": stored, "by": page.by, "overtaken": overtaken})
