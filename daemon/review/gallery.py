"""The gallery's filter in the URL and in the form."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from typing import Any
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from daemon import ids
from daemon.outbox.labels import NOT_A_DIGIT
from daemon.records import DIGITS, Status
from daemon.review.queries import Filter, Place, Sort

_LONGEST_NAME = 255
_VALUES = (*map(str, range(DIGITS)), NOT_A_DIGIT, "")
_ANSWERED: dict[str, tuple[bool, ...]] = {"yes": (True,), "no": (False,)}
_REVERSED = {
    Sort.NEWEST: Sort.OLDEST,
    Sort.OLDEST: Sort.NEWEST,
    Sort.LEAST: Sort.MOST,
    Sort.MOST: Sort.LEAST,
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A page of the gallery: what to show, and after which place."""

    filter: Filter
    after: Place | None


def parse(params: QueryParams) -> Wanted:
    """Return what a URL asks for; what is not allowed in it is ignored."""
    status, value = params.get("status", ""), params.get("value", "any")
    sort = params.get("sort", "")
    return Wanted(
        Filter(
            statuses=(status,) if status in frozenset(Status) else (),
            values=(value,) if value in _VALUES else (),
            answered=_ANSWERED.get(params.get("answered", ""), ()),
            name=params.get("name", "")[:_LONGEST_NAME],
            since=_day(params.get("since", "")),
            until=_day(params.get("until", "")),
            sort=Sort(sort) if sort in frozenset(Sort) else Sort.NEWEST,
        ),
        _place(params.get("after", "")),
    )


def query(wanted: Filter, after: Place | None = None) -> str:
    """Return the query string of a page."""
    parameters = {key: text for key, text in form(wanted).items() if text or key == "value"}
    if not wanted.values:
        del parameters["value"]
    if after is not None:
        parameters["after"] = f"{after.confidence!r},{ids.encode(after.number)}"
    return urlencode(parameters)


def form(wanted: Filter) -> Mapping[str, Any]:
    """Return the values of the form's fields."""
    return {
        "status": "".join(wanted.statuses),
        "value": wanted.values[0] if wanted.values else "any",
        "answered": next((key for key, value in _ANSWERED.items() if value == wanted.answered), ""),
        "name": wanted.name,
        "since": "" if wanted.since is None else wanted.since.isoformat(),
        "until": "" if wanted.until is None else wanted.until.isoformat(),
        "sort": wanted.sort.value,
    }


def reversed_order(wanted: Filter) -> Filter:
    """Return the same filter in the opposite order."""
    return replace(wanted, sort=_REVERSED[wanted.sort])


def _day(text: str) -> date | None:
    with suppress(ValueError):
        return date.fromisoformat(text)
    return None


def _place(text: str) -> Place | None:
    confidence, _, job_id = text.partition(",")
    if ids.PATTERN.fullmatch(job_id):
        with suppress(ValueError):
            return Place(float(confidence), ids.decode(job_id))
    return None
