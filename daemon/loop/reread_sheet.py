"""Draw the images whose verdict a reread has changed."""

from pathlib import Path

from daemon.config import Config
from daemon.errors import UnreadableError
from daemon.files import open_untrusted, replace_whole
from daemon.outbox.archive import original_path
from daemon.outbox.reread_changes import Changes, Example, Verdict
from daemon.picture.sheet import Tile, draw
from daemon.picture.text import Pixels
from daemon.reading import image
from daemon.records import Status, format_percent


def draw_changes(config: Config, changes: Changes, title: str, path: Path) -> None:
    """Write a sheet with the examples of what changed; remove an earlier one if nothing did.

    Raises:
        OSError: it cannot be written.
    """
    if not changes.examples:
        path.unlink(missing_ok=True)
        return
    number = sum(changes.counts.values())
    more = number - len(changes.examples)
    left_out = f", {more:,} more are not shown" if more else ""
    tiles = [_make_tile(config, example) for example in changes.examples]
    replace_whole(path, draw(f"{title}: {number:,} changed{left_out}", tiles))


def _make_tile(config: Config, example: Example) -> Tile:
    text = f"{_describe(example.before)} \N{RIGHTWARDS ARROW} {_describe(example.after)}"
    status = Status(example.after.status)
    return Tile(_load(config, example.original), example.file, text, status)


def _load(config: Config, original: str) -> Pixels | None:
    """Return an original as a worker has just decoded it; ``None`` if it is gone."""
    path = original_path(config.outbox, original)
    if path is None:
        return None
    try:
        with open(open_untrusted(path), "rb") as file:  # noqa: PTH123 - opened safely
            data = file.read(int(config.max_file_mb * 1e6))
        pixels = image.decode(data, max_megapixels=config.max_megapixels)
    except (OSError, UnreadableError):
        return None
    return image.make_thumbnail(pixels)


def _describe(verdict: Verdict) -> str:
    """Return a verdict in a few characters: a doubtful text has a question mark."""
    if verdict.status == Status.ERROR:
        return "error"
    doubt = "?" if verdict.status == Status.UNSURE else ""
    sure = "" if verdict.confidence is None else f" {format_percent(verdict.confidence)}"
    return f"{verdict.text}{doubt}{sure}"
