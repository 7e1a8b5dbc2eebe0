"""The HTML pages: check, gallery, live, one row, log in."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from daemon import ids
from daemon.outbox import drift
from daemon.records import Status
from daemon.review import bodies, charts, events, gallery, queries
from daemon.review.answers import UnknownRowError
from daemon.review.guard import LOGIN_PATH, let_in
from daemon.review.pages import Pages, static_files
from daemon.review.site import Site

_PER_PAGE = 60
_HOURS = 72
_ERRORS = 50
_WRONG_PASSWORD_SECONDS = 1.0


class Views:
    """The pages of one site."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._pages = Pages()
        self._static = static_files()
        self._logins = anyio.Lock()

    def routes(self) -> list[Route]:
        """Return the address of each page."""
        return [
            Route("/", self.review),
            Route("/gallery", self.gallery),
            Route("/row/{id}", self.row),
            Route("/live", self.live),
            Route("/live/figures", self.figures),
            Route("/static/{name}", self.static),
            Route(LOGIN_PATH, self.login, methods=["GET", "POST"]),
        ]

    def review(self, _request: Request) -> Response:
        """Return the page that shows the queue, one item at a time."""
        return self._page("review.html", item=None, section="review")

    def gallery(self, request: Request) -> Response:
        """Return one page of all rows that a filter lets through."""
        wanted = gallery.parse(request.query_params)
        found: list[queries.Card] = []
        next_place = None
        if self._site.indexer.progress is None:
            db = self._site.index.reader()
            places = queries.page(db, wanted.filter, wanted.after, _PER_PAGE + 1)
            found = queries.cards(db, [place.number for place in places[:_PER_PAGE]])
            next_place = places[_PER_PAGE - 1] if len(places) > _PER_PAGE else None
        return self._page(
            "gallery.html",
            section="gallery",
            cards=found,
            form=gallery.form(wanted.filter),
            query=gallery.query(wanted.filter),
            next_query=gallery.query(wanted.filter, next_place) if next_place else "",
            is_first=wanted.after is None,
        )

    def row(self, request: Request) -> Response:
        """Return the page of one row, with the rows before and after it in the gallery."""
        item = self._site.answers.item(request.path_params["id"])
        wanted = gallery.parse(request.query_params).filter
        neighbours: dict[str, str] = {}
        if self._site.indexer.progress is None:
            db = self._site.index.reader()
            place = queries.place(db, item.row["id"])
            for name, filtered in (("next", wanted), ("previous", gallery.reversed_order(wanted))):
                for found in queries.page(db, filtered, place, 1):
                    neighbours[name] = ids.encode(found.number)
        data = item.shown() | {"neighbours": neighbours, "query": gallery.query(wanted)}
        return self._page("review.html", item=data, section="gallery")

    def live(self, _request: Request) -> Response:
        """Return the page of counts, charts and errors."""
        return self._page("live.html", section="live", **self._live())

    def figures(self, _request: Request) -> Response:
        """Return the changing part of the live page."""
        return HTMLResponse(self._pages.render("figures.html", **self._live()))

    async def login(self, request: Request) -> Response:
        """Ask for the password, and check it."""
        access = self._site.access
        if not access.password:
            raise HTTPException(404)
        if request.method == "GET":
            return HTMLResponse(self._pages.render("login.html", is_wrong=False))
        form = (await bodies.read(request)).decode("utf-8", "replace")
        password = dict(parse_qsl(form)).get("password", "")
        async with self._logins:  # one guess at a time, by whomever
            if access.is_password(password):
                return let_in(access)
            await anyio.sleep(_WRONG_PASSWORD_SECONDS)
        return HTMLResponse(self._pages.render("login.html", is_wrong=True), 403)

    def static(self, request: Request) -> Response:
        """Return a style sheet or a script."""
        file = self._static.get(request.path_params["name"])
        if file is None:
            raise HTTPException(404)
        headers = {"cache-control": "no-cache"}
        return Response(file.data, media_type=file.media_type, headers=headers)

    def _page(self, name: str, **values: Any) -> Response:  # noqa: ANN401 - a template's values
        counts = events.state(self._site.index, self._site.indexer)
        shown = {"state": counts, "user": self._site.user, **values}
        return HTMLResponse(self._pages.render(name, **shown))

    def _live(self) -> dict[str, Any]:
        db = self._site.index.reader()
        figures = self._site.index.figures
        return {
            "counts": {status.value: figures.count(status) for status in Status},
            "answered": figures.answered,
            "a_minute": queries.since(db, datetime.now(UTC) - timedelta(minutes=1)),
            "accuracy": figures.accuracy(),
            "checked": figures.checked,
            "histogram": charts.histogram(figures.histogram),
            "doubt": charts.doubt(figures.hours(_HOURS)),
            "errors": self._errors(),
            "differences": drift.differences(drift.load(self._site.config.outbox)),
        }

    def _errors(self) -> list[dict[str, str]]:
        """Return the newest ``error`` rows."""
        if self._site.indexer.progress is not None:
            return []
        failed = queries.Filter(statuses=(Status.ERROR,))
        found = []
        for place in queries.page(self._site.index.reader(), failed, None, _ERRORS):
            try:
                found.append(self._site.answers.item(ids.encode(place.number)).row)
            except UnknownRowError:  # the table is being replaced
                continue
        return found
