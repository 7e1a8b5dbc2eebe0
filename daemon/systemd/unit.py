"""The systemd unit that ``digitd service`` prints."""

import sys
from pathlib import Path

from daemon.assets import REVIEW_UNIT_TEMPLATE, SANDBOX_TEMPLATE, UNIT_TEMPLATE
from daemon.config import Config
from daemon.errors import EX_CONFIG

_NO_NETWORK = """\
# No network at all.
PrivateNetwork=yes
RestrictAddressFamilies=AF_UNIX
"""
_CLUSTER = """\
# The cluster's scheduler and workers are on other machines.
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
IPAddressAllow=any
"""


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
    words = [*map(word, writable)]
    if config.metrics_file is not None and not review:
        words.append(word(config.metrics_file.parent, "-"))  # it may be missing
    template = REVIEW_UNIT_TEMPLATE if review else UNIT_TEMPLATE
    sandbox = SANDBOX_TEMPLATE.read_text(encoding="utf-8")
    return template.read_text(encoding="utf-8").format(
        network=_NO_NETWORK if config.cluster is None else _CLUSTER,
        sandbox=sandbox.format(writable=" ".join(words)),
        shown=str(config.inbox).replace("%", "%%"),
        shown_outbox=str(config.outbox).replace("%", "%%"),
        inbox=word(config.inbox),
        outbox=word(config.outbox),
        parent=str(parent).replace("%", "%%"),
        # systemd also expands variables in command lines.
        python=word(Path(sys.executable)).replace("$", "$$"),
        config=word(config_file.resolve()).replace("$", "$$"),
        user=user,
        bad_config=EX_CONFIG,
    )


def word(path: Path, prefix: str = "") -> str:
    """Return a path, after a prefix, quoted as one word of a unit file.

    See systemd.service(5), "Command lines".
    """
    text = f"{prefix}{path}".replace("\\", "\\\\").replace('"', '\\"')
    text = text.replace("%", "%%")
    return f'"{text}"' if text != f"{prefix}{path}" or any(map(str.isspace, text)) else text


def _common_parent(inbox: Path, outbox: Path) -> Path:
    parents = [inbox.parent, *inbox.parent.parents]
    return next(parent for parent in parents if outbox.is_relative_to(parent))
