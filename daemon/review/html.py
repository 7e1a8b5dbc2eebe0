"""Render the templates."""

from pathlib import Path
from typing import Any

import jinja2

from daemon.invocation import command_line
from daemon.records import format_percent
from daemon.text import format_utc


def _percent(value: float | None) -> str:
    """Return a probability as the annotated pictures show it; empty if there is none."""
    return "" if value is None else format_percent(value)


_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters["percent"] = _percent
_TEMPLATES.filters["utc"] = format_utc
_TEMPLATES.filters["command"] = command_line


def render(name: str, **values: Any) -> str:  # noqa: ANN401 - a template's values
    """Return a page; each template needs ``root``, the path below which the page is served."""
    return _TEMPLATES.get_template(name).render(values)
