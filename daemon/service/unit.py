"""The systemd unit that ``digitd service`` prints."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.errors import EX_CONFIG

if TYPE_CHECKING:
    from daemon.config import Config

_UNIT = """\
# Written by `digitd service`: save it as /etc/systemd/system/digitd.service, then
#   systemctl daemon-reload && systemctl enable --now digitd
[Unit]
Description=digitd: read the handwritten digits dropped into {shown}
Documentation=man:systemd.service(5)
After=local-fs.target remote-fs.target
RequiresMountsFor={inbox} {outbox}

[Service]
Type=notify
User={user}
UMask=0027
WorkingDirectory={parent}
ExecStart={python} -P -m daemon run --config {config}
# The shell's own kill: a small Debian has no /bin/kill (`make system-test` runs on one).
ExecReload=/bin/sh -c 'kill -HUP $MAINPID'
Restart=on-failure
RestartSec=2
# A bad config or model does not get better by starting again.
RestartPreventExitStatus={bad_config}
# Only the daemon is told to stop: it lets its workers finish the batch in hand.
KillMode=mixed
TimeoutStartSec=300
TimeoutStopSec=30
# Fed by the loop that makes progress. What hangs is ended by SIGABRT, and the journal says where.
WatchdogSec=60
Environment=PYTHONFAULTHANDLER=1
# A worker that runs out of memory is the daemon's to deal with.
OOMPolicy=continue
# matplotlib keeps its font cache here, or builds it anew at each start.
CacheDirectory=digitd
Environment=MPLCONFIGDIR=%C/digitd HOME=%C/digitd

# The sandbox: everything that TensorFlow survives (`make system-test`, systemd 252). Not
# MemoryDenyWriteExecute=: oneDNN and XLA generate code. One writable path, as two would be
# two mounts, and no rename crosses them.
ReadWritePaths={writable}
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
PrivateDevices=yes
PrivateNetwork=yes
PrivateUsers=yes
PrivateIPC=yes
PrivateMounts=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
NoNewPrivileges=yes
RemoveIPC=yes
CapabilityBoundingSet=
AmbientCapabilities=
KeyringMode=private
DevicePolicy=closed
IPAddressDeny=any
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""


def unit(config: Config, config_file: Path, user: str) -> str:
    """Return a systemd unit that runs this installation on a config.

    Args:
        config: its folders are made writable, and nothing else.
        config_file: the file it came from.
        user: the system user to run as.
    """
    parent = _common_parent(config.inbox, config.outbox)
    # Two writable paths are two mounts, and each file is copied from one to the other; still
    # better than to open the whole machine.
    writable = (config.inbox, config.outbox) if parent == Path("/") else (parent,)
    return _UNIT.format(
        shown=str(config.inbox).replace("%", "%%"),
        inbox=_word(config.inbox),
        outbox=_word(config.outbox),
        parent=str(parent).replace("%", "%%"),
        writable=" ".join(map(_word, writable)),
        # A command line knows variables besides.
        python=_word(Path(sys.executable)).replace("$", "$$"),
        config=_word(config_file.resolve()).replace("$", "$$"),
        user=user,
        bad_config=EX_CONFIG,
    )


def _word(path: Path) -> str:
    """Write a path as one word of a unit file: systemd.service(5), "Command lines"."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    text = text.replace("%", "%%")
    return f'"{text}"' if text != str(path) or any(map(str.isspace, text)) else text


def _common_parent(inbox: Path, outbox: Path) -> Path:
    parents = [inbox.parent, *inbox.parent.parents]
    return next(parent for parent in parents if outbox.is_relative_to(parent))
