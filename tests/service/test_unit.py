"""The units that `digitd service` prints: the same sandbox, but for the network."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.harness import Box, digitd

if TYPE_CHECKING:
    from pathlib import Path

NETWORK = {
    "PrivateNetwork=yes",
    "RestrictAddressFamilies=AF_UNIX",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
    "IPAddressAllow=localhost",
}


@pytest.fixture
def box(tmp_path: Path) -> Box:
    folder = tmp_path / "a folder, 100% odd"
    folder.mkdir()
    return Box(folder)


def sandbox(unit: str) -> set[str]:
    """Return the settings after the comment that starts the sandbox."""
    lines = unit.partition("# The sandbox")[2].partition("[Install]")[0].splitlines()
    return {line for line in lines[1:] if "=" in line and not line.startswith("#")}


def test_review_unit_differs_in_the_network_only(box: Box) -> None:
    daemon = sandbox(digitd("service", "--config", box.config).stdout)
    review = sandbox(digitd("service", "--review", "--config", box.config).stdout)
    assert len(daemon) > 30
    assert daemon ^ review == NETWORK
    assert "IPAddressDeny=any" in review


def test_review_unit_serves_this_config_on_the_loopback_address(box: Box) -> None:
    unit = digitd("service", "--review", "--user", "ana", "--config", box.config).stdout
    escaped = str(box.folder).replace("%", "%%")
    assert f'review --no-browser --config "{escaped}/config.yaml"\n' in unit
    assert f'ReadWritePaths="{escaped}"\n' in unit
    assert "--host" not in unit
    assert "User=ana\n" in unit
    assert "{" not in unit


def test_folder_of_the_metrics_is_writable(box: Box) -> None:
    box.configure(metrics_file="/var/lib/node exporter/digitd.prom")
    unit = digitd("service", "--config", box.config).stdout
    escaped = str(box.folder).replace("%", "%%")
    assert f'ReadWritePaths="{escaped}" "-/var/lib/node exporter"\n' in unit


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_accepts_the_review_unit(box: Box, tmp_path: Path) -> None:
    unit = tmp_path / "digitd-review.service"
    unit.write_text(digitd("service", "--review", "--config", box.config).stdout)
    verify = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "digitd-review.service" not in verify.stderr, verify.stderr
