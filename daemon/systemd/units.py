"""The systemd units that ``digitd service`` prints.

Each is a template of ``daemon/assets`` with the installation's paths and the sandbox filled in.
"""

import os
import pwd
import sys
from pathlib import Path

from daemon.assets import REVIEW_UNIT_TEMPLATE, SANDBOX, UNIT_TEMPLATE
from daemon.config import Config
from daemon.errors import EX_CONFIG, ConfigError
from daemon.records import Cluster

_NO_NETWORK = """\
# No network at all.
PrivateNetwork=yes
RestrictAddressFamilies=AF_UNIX
"""
_CLUSTER_NETWORK = """\
# The cluster's scheduler and workers are on other machines.
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
IPAddressAllow=any
"""
# The units of the daemon and the page have a section on the network instead.
_NETWORK_SETTINGS = frozenset({"RestrictAddressFamilies"})
# Dask's processes talk to other machines, and the rest was never tested with Dask.
_NOT_FOR_DASK = frozenset(
    {
        "IPAddressDeny",
        "PrivateUsers",
        "PrivateIPC",
        "PrivateMounts",
        "ProtectHostname",
        "ProtectProc",
        "MemoryDenyWriteExecute",
        "RemoveIPC",
        "KeyringMode",
        "DevicePolicy",
        "SystemCallFilter",
        "SystemCallErrorNumber",
    }
)

_PRIVATE = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108 - the sandbox replaces them

# Dask's settings, as environment variables of the scheduler and the workers.
DASK_SETTINGS = {
    # A batch that took its worker down must not take down another.
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
    # The scheduler drops a worker that is silent for this long.
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "60s",
    # The profiler samples every thread 100 times a second, for a dashboard that is off.
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
}


def render_unit(
    config: Config, config_file: Path, user: str, *, review: bool = False, options: str = ""
) -> str:
    """Return a systemd unit that runs this installation on a config.

    Args:
        config: names the folders; the service can write only to these.
        config_file: the file that the config was loaded from.
        user: the system user to run as.
        review: return the unit of the review page instead of the daemon's.
        options: of ``digitd review``; see ``review_options``.
    """
    # systemd ignores a path that has .., and follows no link below a writable folder.
    inbox, outbox = map(_resolve, (config.inbox, config.outbox))
    parent = Path(os.path.commonpath([inbox.parent, outbox]))
    # Two writable paths are two mounts, so every file is copied from one to the other. That is
    # still better than making the whole file system writable.
    folders = (inbox, outbox) if parent == Path("/") else (parent,)
    writable = [*map(_word, folders)]
    if config.metrics_file is not None and not review:
        writable.append(_word(_resolve(config.metrics_file.parent), "-"))  # it may be missing
    models = _resolve(config.models)
    if review and config.model is None and not any(map(models.is_relative_to, folders)):
        writable.append(_word(models, "-"))  # its page promotes models
    template = REVIEW_UNIT_TEMPLATE if review else UNIT_TEMPLATE
    return template.read_text(encoding="utf-8").format(
        network=_NO_NETWORK if config.cluster is None else _CLUSTER_NETWORK,
        sandbox=_sandbox(_NETWORK_SETTINGS),
        writable=" ".join(writable),
        shown=str(inbox).replace("%", "%%"),
        shown_outbox=str(outbox).replace("%", "%%"),
        inbox=_word(inbox),
        outbox=_word(outbox),
        parent=str(parent).replace("%", "%%"),
        python=_command_word(Path(sys.executable)),
        config=_command_word(config_file.resolve()),
        options=options,
        user=user,
        bad_config=EX_CONFIG,
    )


def review_options(public_url: str | None, password_file: Path | None) -> str:
    """Return the options of ``digitd review`` for a unit's command line."""
    options = {
        "--public-url": public_url,
        "--password-file": password_file and str(password_file.absolute()),
    }
    return "".join(f" {name} {_command_word(text)}" for name, text in options.items() if text)


def render_dask_unit(template: Path, cluster: Cluster | None, user: str) -> str:
    """Return the unit of a cluster's scheduler, or the template unit of its workers.

    Raises:
        ConfigError: ``cluster`` is ``None``.
    """
    if cluster is None:
        raise ConfigError(
            "cluster: is not set: write the scheduler's address into the config, such as "
            "tls://scheduler:8786, and its files under cluster_tls"
        )
    scheme, _, rest = cluster.address.partition("://")
    uses_tls = scheme == "tls"
    settings = DASK_SETTINGS | {"DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": str(uses_tls)}
    return template.read_text(encoding="utf-8").format(
        address=cluster.address,
        host=f"{scheme}://0.0.0.0" if uses_tls else f"{scheme}://127.0.0.1",
        port=rest.rpartition(":")[2],
        user=user,
        python=_command_word(Path(sys.executable)),
        tls=_tls_options(cluster),
        environment="".join(f"Environment={key}={value}\n" for key, value in settings.items()),
        sandbox=_sandbox(_NOT_FOR_DASK),
    )


def find_obstacle(user: str) -> str:
    """Return why a user cannot run this installation; empty if nothing is in the way.

    Decided by the permissions of Python, of digitd and of all folders above, without access
    control lists. A user who does not exist yet is taken for one without groups.
    """
    for file in (Path(sys.executable), Path(__file__)):
        # A link is followed through its own folders, then through those of its target.
        for path in (file.absolute(), file.resolve()):
            for part in (*reversed(path.parents), path):
                if not _may_use(user, part):
                    return (
                        f"{part}: user {user} has no permission for it, so the service cannot "
                        f"start {sys.executable}: install digitd below /opt with the system's "
                        "Python"
                    )
    return ""


def find_hidden(config: Config, config_file: Path) -> str:
    """Return which file or folder the service would not find; empty if it finds all."""
    named = (config.model, config.metrics_file, config.expect_file)
    optional = (path for path in named if path is not None)
    for path in (config_file, config.inbox, config.outbox, *optional, Path(sys.executable)):
        for one in (path.absolute(), path.resolve()):
            if hidden := next(filter(one.is_relative_to, _PRIVATE), None):
                return (
                    f"{one}: the service cannot find it, because PrivateTmp gives it another "
                    f"{hidden}: move it, for example below /srv"
                )
    return ""


def _may_use(user: str, path: Path) -> bool:
    """Return whether a user may enter a folder, run a program or read another file."""
    found = path.stat()
    wanted = 0o1 if path.is_dir() or path == Path(sys.executable).resolve() else 0o4
    try:
        known = pwd.getpwnam(user)
    except KeyError:
        return bool(found.st_mode & wanted)
    if known.pw_uid == 0:
        return True
    if known.pw_uid == found.st_uid:
        return bool(found.st_mode >> 6 & wanted)
    if found.st_gid in os.getgrouplist(user, known.pw_gid):
        return bool(found.st_mode >> 3 & wanted)
    return bool(found.st_mode & wanted)


def _resolve(path: Path) -> Path:
    """Return a path without links; unlike ``Path.resolve`` of Python 3.11, also of a loop."""
    return Path(os.path.realpath(path))


def _tls_options(cluster: Cluster) -> str:
    files = {"--tls-ca-file": cluster.ca, "--tls-cert": cluster.cert, "--tls-key": cluster.key}
    return "".join(f" {option} {_word(file)}" for option, file in files.items() if file is not None)


def _sandbox(without: frozenset[str]) -> str:
    """Return the lines of the sandbox, except the named settings."""
    lines = SANDBOX.read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(line for line in lines if line.partition("=")[0] not in without)


def _command_word(path: Path | str) -> str:
    """Return a path or a text as one word of a command line, where systemd expands variables."""
    return _word(path).replace("$", "$$")


def _word(path: Path | str, prefix: str = "") -> str:
    """Return a prefix and a path or another text, quoted as one word of a unit file.

    See systemd.service(5), "Command lines".
    """
    text = f"{prefix}{path}".replace("\\", "\\\\").replace('"', '\\"')
    text = text.replace("%", "%%")
    is_odd = text != f"{prefix}{path}" or "'" in text or any(map(str.isspace, text))
    return f'"{text}"' if is_odd else text
