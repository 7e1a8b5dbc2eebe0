"""The HTML pages and the files that they load, read once at start."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from daemon.records import format_percent

_HERE = Path(__file__).parent
_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A style sheet, a script or an icon."""

    data: bytes
    media_type: str


def static_files() -> Mapping[str, StaticFile]:
    """Return the files by name; no path is ever built from a request."""
    return {
        file.name: StaticFile(file.read_bytes(), _MEDIA_TYPES[file.suffix])
        for file in (_HERE / "static").iterdir()
        if file.suffix in _MEDIA_TYPES
    }


class Pages:
    """The templates; every value is escaped."""

    def __init__(self) -> None:
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters["percent"] = _percent

    def render(self, name: str, **values: Any) -> str:  # noqa: ANN401 - a template's values
        """Return a page."""
        return self._templates.get_template(name).render(values)


def _percent(value: float | None) -> str:
    """Return a probability as the annotated pictures show it; empty if there is none."""
    return "" if value is None else format_percent(value)
