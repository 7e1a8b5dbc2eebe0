"""What the page's scripts ask for: the queue, answers, files, images, events, results."""

import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from itertools import chain, islice

import anyio
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from daemon import ids
from daemon.errors import DigitdError, describe
from daemon.inbox.retry import retry
from daemon.layout import FAILED
from daemon.loop import status
from daemon.outbox import export
from daemon.outbox.results import results
from daemon.outbox.retention import deleted_before
from daemon.review import bodies, drop, events, queries
from daemon.review.answers import AnsweredError, UnknownRowError
from daemon.review.decoder import GONE, Order
from daemon.review.guard import HEALTH_PATH
from daemon.review.index import IN_SAMPLE
from daemon.review.site import Site

log = logging.getLogger(__name__)

_MOST_STREAMS = 32  # pages that are shown what happens
_MOST_UPLOADS = 4
_QUEUED = 20  # items that are sent at once
_SIDES = {"small": 160, "large": 2000}  # px


class Api:
    """The data of one site."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._streams = 0
        self._uploads = 0
        # Images wait for their decoder; they must not keep answers waiting for a thread.
        self._decoders = anyio.CapacityLimiter(2)

    def routes(self) -> list[Route]:
        """Return the address of each function."""
        return [
            Route("/api/queue", self.queue),
            Route("/api/rows/{id}", self.item),
            Route("/api/answers", self.answer, methods=["POST"]),
            Route("/api/files", self.drop, methods=["POST"]),
            Route("/api/retries", self.retry, methods=["POST"]),
            Route("/image/{id}/{what}", self.image),
            Route("/events", self.events),
            Route("/results.csv", self.results),
            Route("/metrics", self.metrics),
            Route(HEALTH_PATH, self.health),
        ]

    def queue(self, request: Request) -> Response:
        """Return the next items of the queue after a place, and the counts."""
        after = _place(request.query_params.get("after", ""))
        found = queries.queue(self._site.index.reader(), after, _QUEUED)
        items = []
        for queued in found:
            try:
                item = self._site.answers.item(queued.id)
            except UnknownRowError:  # the table is being replaced
                continue
            if not item.label:
                place = f"{queued.queue},{queued.priority!r},{queued.id}"
                is_sample = queued.queue == IN_SAMPLE
                items.append(item.shown() | {"is_sample": is_sample, "place": place})
        is_last = len(found) < _QUEUED
        state = events.state(self._site.index, self._site.indexer)
        return JSONResponse({"items": items, "is_last": is_last, "state": state})

    def item(self, request: Request) -> Response:
        """Return one row."""
        return JSONResponse(self._site.answers.item(request.path_params["id"]).shown())

    async def answer(self, request: Request) -> Response:
        """Store an answer; the response is sent when it is on the disk."""
        given = bodies.given(await bodies.read_json(request), self._site.user)
        try:
            item = await anyio.to_thread.run_sync(self._site.answers.give, given)
        except AnsweredError as error:
            text = "somebody else has answered meanwhile"
            return JSONResponse({"error": text, "item": error.item.shown()}, 409)
        except (DigitdError, OSError) as error:
            log.warning("an answer could not be stored: %s", describe(error))
            return JSONResponse({"error": describe(error)}, 507)
        return JSONResponse(item.shown())

    async def drop(self, request: Request) -> Response:
        """Take a file into the inbox; the body is the file."""
        name = request.query_params.get("name", "")
        length = request.headers.get("content-length", "")
        size = int(length) if length.isascii() and length.isdecimal() else None
        if self._uploads >= _MOST_UPLOADS:
            return JSONResponse({"error": "too many files at once: try again"}, 429)
        self._uploads += 1
        try:
            await anyio.to_thread.run_sync(drop.check, self._site.config, name, size)
            await drop.receive(self._site.config, name, bodies.blocks(request))
        except drop.DropError as error:
            return JSONResponse({"error": str(error)}, error.status)
        except OSError as error:
            return JSONResponse({"error": describe(error)}, 507)
        finally:
            self._uploads -= 1
        return JSONResponse({"name": name}, 201)

    async def retry(self, request: Request) -> Response:
        """Put the file of an ``error`` row back into the inbox."""
        job_id = (await bodies.read_json(request)).get("id")
        if not isinstance(job_id, str):
            raise HTTPException(400, "id: must be a text")
        return await anyio.to_thread.run_sync(self._put_back, job_id)

    def _put_back(self, job_id: str) -> Response:
        named = self._site.answers.item(job_id).row["original"]
        if not named.startswith(f"{FAILED}/"):
            raise HTTPException(409, "only a file that could not be read can be read again")
        (done,) = retry(self._site.config, [named])
        if done.fault is not None:
            raise HTTPException(409, str(done.fault))
        return JSONResponse({"name": done.inbox_name})

    async def image(self, request: Request) -> Response:
        """Return an image that a row names, decoded and encoded again."""
        order = await anyio.to_thread.run_sync(self._order, request)
        decode = self._site.images.decode
        decoded = await anyio.to_thread.run_sync(decode, order, limiter=self._decoders)
        if decoded.fault:
            raise HTTPException(404, decoded.fault)
        headers = {"cache-control": "private, max-age=300"}
        return Response(decoded.data, media_type=decoded.media_type, headers=headers)

    def _order(self, request: Request) -> Order:
        item = self._site.answers.item(request.path_params["id"])
        what = request.path_params["what"]
        if what == "seen":
            if item.row["processed_at"] < deleted_before(self._site.config.outbox):
                raise HTTPException(404, GONE)  # another picture may have its name by now
            return Order(item.row["picture"], _SIDES["large"], is_picture=True)
        if what not in _SIDES:
            raise HTTPException(404)
        return Order(item.row["original"], _SIDES[what], item.row["sha256"])

    async def events(self, _request: Request) -> Response:
        """Return the stream of events."""
        if self._streams >= _MOST_STREAMS:
            raise HTTPException(503, "too many pages are open")

        async def counted() -> AsyncIterator[str]:
            self._streams += 1
            try:
                site = self._site
                async for event in events.stream(site.index, site.indexer, site.is_stopping):
                    yield event
            finally:
                self._streams -= 1

        return StreamingResponse(counted(), media_type="text/event-stream")

    def results(self, _request: Request) -> Response:
        """Return the final answers as CSV."""
        finals = results(self._site.config.outbox)
        try:  # the first one now: a fault after the headers would look like a short table
            first = list(islice(finals, 1))
        except DigitdError as error:
            raise HTTPException(409, str(error)) from None
        name = f"results-{datetime.now(UTC):%Y-%m-%d}.csv"
        headers = {"content-disposition": f'attachment; filename="{name}"'}
        lines = export.csv_lines(chain(first, finals))
        return StreamingResponse(lines, media_type="text/csv; charset=utf-8", headers=headers)

    def metrics(self, _request: Request) -> Response:
        """Return the daemon's metrics, as it wrote them last."""
        file = self._site.config.metrics_file
        if file is None:
            raise HTTPException(404, "there are no metrics: set `metrics_file` in the config")
        try:
            return Response(file.read_bytes(), media_type=CONTENT_TYPE_PLAIN_0_0_4)
        except OSError as error:
            raise HTTPException(503, f"the metrics cannot be read: {error.strerror}") from None

    def health(self, _request: Request) -> Response:
        """Return 200 if the daemon is reading files, or else 503 with what it does instead."""
        health = status.health(self._site.config)
        return PlainTextResponse(f"{health}\n", 200 if health == status.RUNNING else 503)


def _place(text: str) -> queries.Queued | None:
    """Return a place in the queue; ``None``, the beginning, if the text is not one."""
    try:
        queue, priority, job_id = text.split(",")
        if ids.PATTERN.fullmatch(job_id):
            return queries.Queued(job_id, int(queue), float(priority))
    except ValueError:
        pass
    return None
