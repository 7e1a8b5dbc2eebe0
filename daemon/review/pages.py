"""The HTML pages: check, gallery, live, one row, log in; and the static files."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import anyio
import jinja2
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from daemon import ids
from daemon.outbox import drift
from daemon.outbox.labels import NOT_A_DIGIT
from daemon.records import DIGITS, Status, format_percent
from daemon.review import queries
from daemon.review.answers import UnknownRowError
from daemon.review.queries import Cursor, Filter, Hour, Sort
from daemon.review.security import LOGIN_PATH, login_response, read_body
from daemon.review.state import AppState

_HERE = Path(__file__).parent
_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_PER_PAGE = 60
_HOURS = 72
_FEWEST_HOURS = 24  # so that the bar of a single hour is not as wide as the chart
_ERRORS = 50
_WRONG_PASSWORD_SECONDS = 1.0
_LONGEST_NAME = 255
_VALUES = (*map(str, range(DIGITS)), NOT_A_DIGIT, "")
_ANSWERED: dict[str, tuple[bool, ...]] = {"yes": (True,), "no": (False,)}
_REVERSED = {
    Sort.NEWEST: Sort.OLDEST,
    Sort.OLDEST: Sort.NEWEST,
    Sort.LEAST: Sort.MOST,
    Sort.MOST: Sort.LEAST,
}


class Pages:
    """The HTML routes of one outbox."""

    def __init__(self, state: AppState) -> None:
        self._state = state
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters["percent"] = _percent
        # Read once: no path is ever built from a request.
        self._static = {
            file.name: (file.read_bytes(), _MEDIA_TYPES[file.suffix])
            for file in (_HERE / "static").iterdir()
            if file.suffix in _MEDIA_TYPES
        }
        self._logins = anyio.Lock()

    def routes(self) -> list[Route]:
        """Return the routes."""
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
        """Return one page of the rows that match a filter."""
        wanted, after = parse_filter(request.query_params)
        cards: list[queries.Card] = []
        last = None
        if not self._state.is_indexing:
            db = self._state.db
            found = queries.page(db, wanted, after, _PER_PAGE + 1)
            cards = queries.cards(db, [cursor.number for cursor in found[:_PER_PAGE]])
            last = found[_PER_PAGE - 1] if len(found) > _PER_PAGE else None
        return self._page(
            "gallery.html",
            section="gallery",
            cards=cards,
            form=_form_values(wanted),
            query=format_filter(wanted),
            next_query=format_filter(wanted, last) if last else "",
            is_first=after is None,
        )

    def row(self, request: Request) -> Response:
        """Return the page of one row, with the rows before and after it in the gallery."""
        item = self._state.answers.item(request.path_params["id"])
        wanted, _ = parse_filter(request.query_params)
        neighbours: dict[str, str] = {}
        if not self._state.is_indexing:
            db = self._state.db
            here = queries.cursor(db, item.row["id"])
            reverse = replace(wanted, sort=_REVERSED[wanted.sort])
            for name, filtered in (("next", wanted), ("previous", reverse)):
                for found in queries.page(db, filtered, here, 1):
                    neighbours[name] = ids.encode(found.number)
        data = item.as_json() | {"neighbours": neighbours, "query": format_filter(wanted)}
        return self._page("review.html", item=data, section="gallery")

    def live(self, _request: Request) -> Response:
        """Return the page of counts, charts and errors."""
        return self._page("live.html", section="live", **self._figures())

    def figures(self, _request: Request) -> Response:
        """Return the changing part of the live page."""
        return HTMLResponse(self._render("figures.html", **self._figures()))

    async def login(self, request: Request) -> Response:
        """Ask for the password, and check it."""
        access = self._state.access
        if not access.password:
            raise HTTPException(404)
        if request.method == "GET":
            return HTMLResponse(self._render("login.html", is_wrong=False))
        form = (await read_body(request)).decode("utf-8", "replace")
        password = dict(parse_qsl(form)).get("password", "")
        async with self._logins:  # one guess at a time, from all clients together
            if access.is_password(password):
                return login_response(access)
            await anyio.sleep(_WRONG_PASSWORD_SECONDS)
        return HTMLResponse(self._render("login.html", is_wrong=True), 403)

    def static(self, request: Request) -> Response:
        """Return a style sheet, a script or an icon."""
        name = request.path_params["name"]
        if name not in self._static:
            raise HTTPException(404)
        data, media_type = self._static[name]
        return Response(data, media_type=media_type, headers={"cache-control": "no-cache"})

    def _page(self, name: str, **values: Any) -> Response:  # noqa: ANN401 - a template's values
        shared = {"state": self._state.counts(), "user": self._state.user}
        return HTMLResponse(self._render(name, **shared, **values))

    def _render(self, name: str, **values: Any) -> str:  # noqa: ANN401 - a template's values
        return self._templates.get_template(name).render(values)

    def _figures(self) -> dict[str, Any]:
        db = self._state.db
        counts = queries.counts(db)
        return {
            "counts": counts.by_status,
            "answered": counts.answered,
            "last_minute": queries.count_since(db, datetime.now(UTC) - timedelta(minutes=1)),
            "accuracy": queries.accuracy(db),
            "confidence": _confidence_chart(queries.histogram(db)),
            "unsure": _unsure_chart(queries.hours(db, _HOURS)),
            "errors": self._errors(),
            "differences": drift.differences(drift.load(self._state.config.outbox)),
        }

    def _errors(self) -> list[dict[str, str]]:
        """Return the newest ``error`` rows."""
        if self._state.is_indexing:
            return []
        failed = Filter(statuses=(Status.ERROR,))
        errors = []
        for found in queries.page(self._state.db, failed, None, _ERRORS):
            with suppress(UnknownRowError):  # the table is being replaced
                errors.append(self._state.answers.item(ids.encode(found.number)).row)
        return errors


def parse_filter(params: QueryParams) -> tuple[Filter, Cursor | None]:
    """Return the filter in a URL and where the page starts; ignore values that are not allowed."""
    status, value = params.get("status", ""), params.get("value", "any")
    sort = params.get("sort", "")
    wanted = Filter(
        statuses=(status,) if status in frozenset(Status) else (),
        values=(value,) if value in _VALUES else (),
        answered=_ANSWERED.get(params.get("answered", ""), ()),
        name=params.get("name", "")[:_LONGEST_NAME],
        since=_parse_day(params.get("since", "")),
        until=_parse_day(params.get("until", "")),
        sort=Sort(sort) if sort in frozenset(Sort) else Sort.NEWEST,
    )
    return wanted, _parse_cursor(params.get("after", ""))


def format_filter(wanted: Filter, after: Cursor | None = None) -> str:
    """Return a filter, and where the page starts, as a query string."""
    parameters = {key: text for key, text in _form_values(wanted).items() if text or key == "value"}
    if not wanted.values:
        del parameters["value"]
    if after is not None:
        parameters["after"] = f"{after.confidence!r},{ids.encode(after.number)}"
    return urlencode(parameters)


def _form_values(wanted: Filter) -> Mapping[str, Any]:
    return {
        "status": "".join(wanted.statuses),
        "value": wanted.values[0] if wanted.values else "any",
        "answered": next((key for key, value in _ANSWERED.items() if value == wanted.answered), ""),
        "name": wanted.name,
        "since": "" if wanted.since is None else wanted.since.isoformat(),
        "until": "" if wanted.until is None else wanted.until.isoformat(),
        "sort": wanted.sort.value,
    }


def _parse_day(text: str) -> date | None:
    with suppress(ValueError):
        return date.fromisoformat(text)
    return None


def _parse_cursor(text: str) -> Cursor | None:
    confidence, _, job_id = text.partition(",")
    if ids.PATTERN.fullmatch(job_id):
        with suppress(ValueError):
            return Cursor(float(confidence), ids.decode(job_id))
    return None


@dataclass(frozen=True, slots=True)
class _Bar:
    """A bar of a chart: its height as a share of the tallest, and its tooltip."""

    height: float
    title: str


@dataclass(frozen=True, slots=True)
class _Chart:
    """A bar chart; ``slots`` is the number of bars that fit, of which the last ones are filled."""

    title: str
    bars: Sequence[_Bar]
    slots: int
    gap: float  # between two bars, as a share of a slot
    axis: tuple[str, str, str]


def _confidence_chart(bins: Sequence[int]) -> _Chart:
    """Return the histogram of confidence, from 0 to 100 %."""
    tallest, width = max(1, *bins), 100 / len(bins)
    bars = [
        _Bar(count / tallest, f"{width * number:.0f} to {width * (number + 1):.0f} %: {count:,}")
        for number, count in enumerate(bins)
    ]
    title = "How many files were read with which confidence"
    return _Chart(title, bars, len(bins), 1 / 12, ("0 %", "50 %", "100 %"))


def _unsure_chart(hours: Sequence[Hour]) -> _Chart | None:
    """Return the share of unsure rows in each hour that has rows; ``None`` if none has."""
    if not hours:
        return None
    shares = [hour.unsure / hour.rows for hour in hours]
    highest = max(*shares, 0.01)  # 1 %, so that a single one does not look like all
    bars = [
        _Bar(share / highest, f"{share:.1%} of {hour.rows:,}")
        for hour, share in zip(hours, shares, strict=True)
    ]
    slots = max(len(hours), _FEWEST_HOURS)
    axis = ("earlier", f"at most {highest:.0%}", "now")
    return _Chart("Share of unsure rows by hour", bars, slots, 0.1, axis)


def _percent(value: float | None) -> str:
    """Return a probability as the annotated pictures show it; empty if there is none."""
    return "" if value is None else format_percent(value)
