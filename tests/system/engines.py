"""The container engines that run the image, and what differs between them."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from support.daemon import ROOT
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

log = logging.getLogger(__name__)

# tests/system/build_image.sh writes it.
BUILT = ROOT / "build" / "system-test" / "image"
IMAGE = "localhost/digitd"
SECONDS = 120.0
_BRIDGE = "digitd-test"


@dataclass(frozen=True)
class Engine:
    """The commands of an engine, and the variables that they need."""

    command: str
    compose: tuple[str, ...]
    environment: dict[str, str]

    def run(self, *command: str, folder: Path = ROOT) -> str:
        """Return what a command prints.

        Raises:
            CalledProcessError: with what it printed as an error.
        """
        done = subprocess.run(
            command,
            cwd=folder,
            env=os.environ | self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        if done.returncode:
            raise subprocess.CalledProcessError(
                done.returncode, command, done.stdout, done.stderr[-2000:]
            )
        return done.stdout

    def fails(self, *command: str) -> bool:
        """Return whether a command exits with another status than 0."""
        try:
            self.run(*command)
        except subprocess.CalledProcessError as error:
            log.debug("%s: %s%s", error, error.stdout, error.stderr)
            return True
        return False

    def is_healthy(self, container: str) -> bool:
        """Return whether a container runs, and its health check succeeds."""
        raise NotImplementedError


class Podman(Engine):
    """Podman, which runs health checks with systemd's timers: here each is run by hand."""

    def is_healthy(self, container: str) -> bool:
        """See Engine."""
        return not self.fails("podman", "healthcheck", "run", container)


class Docker(Engine):
    """Docker, whose daemon runs the health checks."""

    def is_healthy(self, container: str) -> bool:
        """See Engine."""
        state = "{{.State.Status}} {{.State.Health.Status}}"
        return self.run("docker", "inspect", "--format", state, container) == "running healthy\n"


@contextmanager
def podman() -> Iterator[Engine]:
    """Yield Podman, which has the image."""
    if (BUILT / "skipped").exists():
        pytest.skip((BUILT / "skipped").read_text().strip())
    assert (BUILT / "env").exists(), "run `make system-test`, which builds the image"
    lines = (BUILT / "env").read_text().splitlines()
    yield Podman(
        "podman",
        (str(BUILT / "compose" / "bin" / "podman-compose"),),
        dict(line.split("=", 1) for line in lines),
    )


@contextmanager
def docker() -> Iterator[Engine]:
    """Start a dockerd, next to one that may run already, and load Podman's image into it."""
    for program, package in (("dockerd", "docker.io"), ("docker", "docker.io"), ("ip", "iproute2")):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is missing: apt-get install {package}")
    folder = BUILT.parent / "docker"
    environment = {"DOCKER_HOST": f"unix://{folder}/docker.sock"}
    with podman() as builder, _bridge(), _dockerd(folder, environment):
        engine = Docker("docker", _docker_compose(), environment)
        # Of a run that was killed.
        for container in engine.run("docker", "ps", "--all", "--quiet").split():
            engine.run("docker", "rm", "--force", container)
        with subprocess.Popen(
            ["podman", "save", IMAGE],
            env=os.environ | builder.environment,
            stdout=subprocess.PIPE,
        ) as image:
            subprocess.run(
                ["docker", "load", "--quiet"],
                env=os.environ | environment,
                stdin=image.stdout,
                timeout=SECONDS,
                check=True,
            )
        engine.run("docker", "system", "prune", "--force")
        try:
            engine.run("docker", "run", "--rm", "--network=none", "--entrypoint=true", IMAGE)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"Docker cannot run a container here: {error.stderr.strip()}")
        yield engine


def _docker_compose() -> tuple[str, ...]:
    """Return the command of Compose 2, or else of Compose 1."""
    if not Engine("docker", (), {}).fails("docker", "compose", "version"):
        return "docker", "compose"
    if shutil.which("docker-compose") is None:
        pytest.skip("Docker's compose is missing: apt-get install docker-compose")
    return ("docker-compose",)


@contextmanager
def _bridge() -> Iterator[None]:
    """Make a bridge. A dockerd with none deletes docker0, which another one uses."""
    link = ("ip", "link")
    system = Engine("ip", (), {})
    system.fails(*link, "delete", _BRIDGE)  # of a run that was killed
    try:
        system.run(*link, "add", _BRIDGE, "type", "bridge")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no bridge can be made here: {error.stderr.strip()}")
    try:
        # dockerd wants an address. No network has this one (RFC 5737).
        system.run("ip", "address", "add", "198.51.100.1/24", "dev", _BRIDGE)
        yield
    finally:
        system.run(*link, "delete", _BRIDGE)


@contextmanager
def _dockerd(folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """Run a dockerd that shares nothing with another one: no folder, bridge or firewall rule."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "hosts": [environment["DOCKER_HOST"]],
        "data-root": f"{folder}/data",
        "exec-root": f"{folder}/exec",
        "pidfile": f"{folder}/pid",
        "containerd-namespace": "digitd-system-test",
        "containerd-plugins-namespace": "digitd-system-test-plugins",
        "bridge": _BRIDGE,
        "iptables": False,
        "ip-forward": False,
        "ip-masq": False,
    }
    (folder / "daemon.json").write_text(json.dumps(settings))
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(
            ["dockerd", f"--config-file={folder}/daemon.json"], stdout=log, stderr=log
        ) as daemon,
    ):
        client = Engine("docker", (), environment)
        try:
            until(
                lambda: daemon.poll() is not None or not client.fails("docker", "version"),
                "dockerd",
                SECONDS,
            )
            if daemon.poll() is not None:
                last = (folder / "log").read_text().strip().splitlines()[-1]
                pytest.skip(f"dockerd cannot run here: {last}")
            yield
        finally:
            daemon.terminate()
