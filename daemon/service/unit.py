"""The systemd unit that ``digitd service`` prints."""

import sys
from pathlib import Path

from daemon.assets import REVIEW_UNIT_TEMPLATE, SANDBOX_TEMPLATE, UNIT_TEMPLATE
from daemon.config import Config
from daemon.errors import EX_CONFIG


def unit(config: Config, config_file: Path, user: str, *, review: bool = False) -> str:
    """Return a systemd unit that runs this installation on a config.

    Args:
        config: names the folders; only these are writable for the service.
        config_file: the file that the config was loaded from.
        user: the system user to run as.
        review: return the unit of the review page instead of the daemon's.
    """
    parent = _common_parent(config.inbox, config.outbox)
    # Two writable paths are two mounts, so every file is copied from one to the other. That is
    # still better than making the whole file system writable.
    writable = (config.inbox, config.outbox) if parent == Path("/") else (parent,)
    words = [*map(_word, writable)]
    if config.metrics_file is not None and not review:
        words.append(_word(config.metrics_file.parent, "-"))  # it may be missing
    template = REVIEW_UNIT_TEMPLATE if review else UNIT_TEMPLATE
    sandbox = SANDBOX_TEMPLATE.read_text(encoding="utf-8")
    return template.read_text(encoding="utf-8").format(
        sandbox=sandbox.format(writable=" ".join(words)),
        shown=str(config.inbox).replace("%", "%%"),
        shown_outbox=str(config.outbox).replace("%", "%%"),
        inbox=_word(config.inbox),
        outbox=_word(config.outbox),
        parent=str(parent).replace("%", "%%"),
        # systemd also expands variables in command lines.
        python=_word(Path(sys.executable)).replace("$", "$$"),
        config=_word(config_file.resolve()).replace("$", "$$"),
        user=user,
        bad_config=EX_CONFIG,
    )


def _word(path: Path, prefix: str = "") -> str:
    """Return a path quoted as one word of a unit file; see systemd.service(5), "Command lines"."""
    text = f"{prefix}{path}".replace("\\", "\\\\").replace('"', '\\"')
    text = text.replace("%", "%%")
    return f'"{text}"' if text != f"{prefix}{path}" or any(map(str.isspace, text)) else text


def _common_parent(inbox: Path, outbox: Path) -> Path:
    parents = [inbox.parent, *inbox.parent.parents]
    return next(parent for parent in parents if outbox.is_relative_to(parent))
