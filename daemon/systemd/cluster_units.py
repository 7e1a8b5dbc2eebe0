"""The systemd units that ``digitd service --cluster`` prints."""

import sys
from pathlib import Path

from daemon.assets import SCHEDULER_UNIT_TEMPLATE, WORKER_UNIT_TEMPLATE
from daemon.errors import ConfigError
from daemon.records import Cluster
from daemon.systemd.unit import word

# Settings of Dask, as environment variables of both units.
SETTINGS = {
    # A batch that has taken its worker down must not take down the next one.
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
    # A worker that does not answer for so long counts as gone.
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "60s",
    # It looks at all threads 100 times a second, for a dashboard that is off.
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
}
# Of both units. What a worker decodes may be hostile.
_SANDBOX = """\
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
SystemCallArchitectures=native
"""


def scheduler_unit(cluster: Cluster | None, user: str) -> str:
    """Return the unit of the scheduler.

    Raises:
        ConfigError: the config names no cluster.
    """
    return _unit(SCHEDULER_UNIT_TEMPLATE, cluster, user)


def worker_unit(cluster: Cluster | None, user: str) -> str:
    """Return the unit of a worker, a template for several; see ``scheduler_unit``."""
    return _unit(WORKER_UNIT_TEMPLATE, cluster, user)


def _unit(template: Path, cluster: Cluster | None, user: str) -> str:
    if cluster is None:
        raise ConfigError(
            "cluster: is not set: write the scheduler's address into the config, such as "
            "tls://scheduler:8786, and its files under cluster_tls"
        )
    scheme, _, rest = cluster.address.partition("://")
    port = rest.rpartition(":")[2]
    settings = SETTINGS | {"DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": str(scheme == "tls")}
    return template.read_text(encoding="utf-8").format(
        address=cluster.address,
        host=f"{scheme}://0.0.0.0" if scheme == "tls" else f"{scheme}://127.0.0.1",
        port=port,
        user=user,
        python=word(Path(sys.executable)).replace("$", "$$"),
        tls=_tls(cluster),
        environment="".join(f"Environment={key}={value}\n" for key, value in settings.items()),
        sandbox=_SANDBOX,
    )


def _tls(cluster: Cluster) -> str:
    files = {"--tls-ca-file": cluster.ca, "--tls-cert": cluster.cert, "--tls-key": cluster.key}
    return "".join(f" {option} {word(file)}" for option, file in files.items() if file is not None)
