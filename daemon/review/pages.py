"""The HTML pages: check, gallery, live, one row, log in; and the static files."""

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import anyio
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from daemon.outbox import archive, drift, labels
from daemon.records import Status
from daemon.review import charts, queries
from daemon.review.answers import UnknownRowError
from daemon.review.html import render
from daemon.review.queries import Bucket, Card, Cursor, Filter, Sort, Span
from daemon.review.security import LOGIN_PATH, read_body, with_cookie
from daemon.review.state import AppState
from daemon.text import escape

_HERE = Path(__file__).parent
_PER_PAGE = 60
_ERRORS = 50
_WRONG_PASSWORD_SECONDS = 1.0
_LONGEST_NAME = 255
_MOST_OFFSET = 14 * 60  # minutes
_REVERSED = {
    Sort.NEWEST: Sort.OLDEST,
    Sort.OLDEST: Sort.NEWEST,
    Sort.LEAST: Sort.MOST,
    Sort.MOST: Sort.LEAST,
}
# A line of ``drift.differences`` begins with one of these names.
_DRIFT_WORDS = {
    "unsure": "The share of files that need a person has changed",
    "error": "The share of files that cannot be read has changed",
    "confidence": "How sure digitd is has changed",
    "digits": "The mix of digits has changed",
}


def _parse_value(text: str) -> str:
    if text and (not labels.is_label(text) or text == labels.UNDO):
        raise ValueError
    return text


def _parse_offset(text: str) -> int:
    """Return by how many minutes a browser's time is ahead of UTC."""
    minutes = int(text)
    if abs(minutes) > _MOST_OFFSET:
        raise ValueError
    return minutes


# The fields of the gallery's form, and what returns a value of ``Filter`` for an allowed text.
# ``number`` is a value that is typed: an empty one allows all, an empty ``value`` is "no guess".
_FIELDS: dict[str, Callable[[str], Any]] = {
    "status": Status,
    "value": _parse_value,
    "answered": {"yes": True, "no": False}.__getitem__,
    "name": str,
    "number": str.strip,
    "since": date.fromisoformat,
    "until": date.fromisoformat,
    "offset": _parse_offset,
    "sort": Sort,
}
_EMPTY_FORM = dict.fromkeys(_FIELDS, "") | {"value": "any", "sort": Sort.NEWEST.value}


class Pages:
    """The HTML routes of one outbox."""

    def __init__(self, state: AppState) -> None:
        self._state = state
        self._logins = anyio.Lock()

    def routes(self) -> list[BaseRoute]:
        """Return the routes."""
        return [
            Route("/", self.review),
            Route("/look", self.look),
            Route("/gallery", self.gallery),
            Route("/row/{id}", self.row),
            Route("/live", self.live),
            Route("/live/figures", self.figures),
            Mount("/static", StaticFiles(directory=_HERE / "static")),
            Route(LOGIN_PATH, self.login, methods=["GET", "POST"]),
        ]

    def review(self, _request: Request) -> Response:
        """Return the page that shows the queue, one item at a time."""
        return self._page("review.html", item=None, section="review")

    def look(self, _request: Request) -> Response:
        """Return the page that shows the sure answers that nobody has looked at."""
        return self._page("look.html", section="review")

    def gallery(self, request: Request) -> Response:
        """Return one page of the rows that match a filter."""
        form = read_form(request.query_params)
        after = Cursor.parse(request.query_params.get("after", ""))
        cards, next_query = list[Card](), ""
        if not self._state.is_indexing:
            found = queries.page(self._state.db, make_filter(form), after, _PER_PAGE + 1)
            cards = found[:_PER_PAGE]
            if len(found) > _PER_PAGE:
                next_query = urlencode({**form, "after": str(cards[-1].cursor)})
        return self._page(
            "gallery.html",
            section="gallery",
            cards=cards,
            form=_EMPTY_FORM | form,
            query=urlencode(form),
            change=partial(_change_query, form),
            is_filtered=any(
                form.get(name, text) != text
                for name, text in _EMPTY_FORM.items()
                if name != "offset"
            ),
            next_query=next_query,
            is_first=after is None,
        )

    def row(self, request: Request) -> Response:
        """Return the page of one row, with the rows before and after it in the gallery."""
        item = self._state.answers.item(request.path_params["id"])
        form = read_form(request.query_params)
        neighbours: dict[str, str] = {}
        if not self._state.is_indexing:
            db, wanted = self._state.db, make_filter(form)
            here = Cursor.of(item.row["id"], item.confidence)
            reverse = replace(wanted, sort=_REVERSED[wanted.sort])
            for name, filtered in (("next", wanted), ("previous", reverse)):
                for card in queries.page(db, filtered, here, 1):
                    neighbours[name] = card.id
        data = item.as_json() | {"neighbours": neighbours, "query": urlencode(form)}
        return self._page("review.html", item=data, section="gallery")

    def live(self, request: Request) -> Response:
        """Return the page of counts, charts and errors."""
        return self._page("live.html", section="live", **self._figures(request.query_params))

    def figures(self, request: Request) -> Response:
        """Return the changing part of the live page."""
        return HTMLResponse(self._render("figures.html", **self._figures(request.query_params)))

    async def login(self, request: Request) -> Response:
        """Ask for the password, and check it."""
        access = self._state.access
        if not access.password:
            raise HTTPException(404)
        wanted = request.query_params.get("next", "")
        if request.method != "POST":
            return HTMLResponse(self._render("login.html", next=wanted, is_wrong=False))
        form = (await read_body(request)).decode("utf-8", "replace")
        password = dict(parse_qsl(form)).get("password", "")
        async with self._logins:  # one guess at a time, from all clients together
            if access.is_password(password):
                return with_cookie(access, RedirectResponse(access.next_page(wanted), 303))
            await anyio.sleep(_WRONG_PASSWORD_SECONDS)
        return HTMLResponse(self._render("login.html", next=wanted, is_wrong=True), 403)

    def _page(self, name: str, **values: Any) -> Response:  # noqa: ANN401 - a template's values
        return render_page(self._state, name, **values)

    def _render(self, name: str, **values: Any) -> str:  # noqa: ANN401 - a template's values
        return render(name, root=self._state.access.path, **values)

    def _figures(self, params: QueryParams) -> dict[str, Any]:
        db = self._state.db
        now = datetime.now(UTC)
        offset = 0
        with suppress(KeyError, ValueError):
            offset = _parse_offset(params["offset"])
        span, buckets = _choose_span(db, params.get("span", ""), now, offset)
        record = drift.load(self._state.config.outbox)
        today = record.today.rows if record.day == archive.day_folder(now) else 0
        return {
            "counts": queries.counts(db),
            "last_minute": queries.count_last_minute(db),
            "accuracy": queries.accuracy(db),
            "span": span.name.lower(),
            "spans": {one.name.lower(): one.words for one in Span},
            "charts": (
                charts.files_over_time(buckets, span),
                charts.unsure_over_time(buckets, span),
                charts.histogram(queries.histogram(db)),
            ),
            "errors": self._errors(),
            "differences": list(
                map(_describe_difference, drift.differences(record) if today else [])
            ),
            "is_compared": today >= drift.FEWEST,
            "fewest": drift.FEWEST,
            "reference": min(record.reference.rows, drift.REFERENCE_ROWS),
            "reference_rows": drift.REFERENCE_ROWS,
        }

    def _errors(self) -> list[dict[str, Any]]:
        """Return the newest ``error`` rows, and whether each one's file is in ``failed/``."""
        if self._state.is_indexing:
            return []
        errors = list[dict[str, Any]]()
        for card in queries.page(self._state.db, Filter(Status.ERROR), None, _ERRORS):
            with suppress(UnknownRowError):  # the table is being replaced
                item = self._state.answers.item(card.id)
                errors.append(item.row | {"can_retry": item.can_retry})
        return errors


def render_page(state: AppState, name: str, **values: Any) -> Response:  # noqa: ANN401 - a template's values
    """Return a page with the frame that all pages have."""
    shared = {
        "state": state.counts(),
        "user": state.user,
        "max_mb": f"{state.config.max_file_mb:g}",
        "inbox": escape(str(state.config.inbox)),
        "reads": state.reads,
    }
    return HTMLResponse(render(name, root=state.access.path, **shared, **values))


def read_form(params: QueryParams) -> dict[str, str]:
    """Return the fields of the gallery's form that a URL sets to allowed values."""
    form = {}
    for name, parse in _FIELDS.items():
        with suppress(KeyError, ValueError):
            text = params[name][:_LONGEST_NAME]
            parse(text)
            form[name] = text
    return form


def _change_query(form: Mapping[str, str], name: str, value: str) -> str:
    """Return the gallery's query with one field changed; a value takes the place of a number."""
    changed = {**form, name: value}
    if name == "value":
        changed.pop("number", None)
    return urlencode({key: text for key, text in changed.items() if text != _EMPTY_FORM[key]})


def make_filter(form: Mapping[str, str]) -> Filter:
    """Return what the fields of the gallery's form ask for."""
    values = {name: _FIELDS[name](text) for name, text in form.items()}
    if number := values.pop("number", ""):
        values["value"] = number
    return Filter(**values)


def _describe_difference(line: str) -> str:
    """Return a line of ``drift.differences`` in words that need no statistics."""
    name, _, figures = line.partition(": ")
    return f"{_DRIFT_WORDS.get(name, name)}: {figures}."


def _choose_span(
    db: sqlite3.Connection, asked: str, now: datetime, offset: int
) -> tuple[Span, list[Bucket]]:
    """Return the span that is asked for, or else the shortest that has rows; with its buckets."""
    for span in Span:
        buckets = queries.timeline(db, span, now, offset)
        has_rows = any(bucket.rows for bucket in buckets)
        if asked == span.name.lower() or (asked.upper() not in Span.__members__ and has_rows):
            return span, buckets
    return Span.DAY, queries.timeline(db, Span.DAY, now, offset)
