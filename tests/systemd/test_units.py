"""The units that `digitd service` prints: their paths, sandboxes and commands."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from support.daemon import ROOT, Box, digitd, verify_unit

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


@pytest.mark.parametrize("user", ["", "a b", "x\nExecStartPre=/bin/sh", "-x", "%u"])
def test_what_is_no_user_is_refused(box: Box, user: str) -> None:
    refused = digitd("service", "--user", user, "--config", box.config)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "is no user's name: give one such as digitd" in refused.stderr


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


def test_review_unit_can_have_a_public_url(box: Box) -> None:
    command = ("service", "--review", "--config", box.config)
    url = "https://digits.example.org/review"
    unit = digitd(*command, "--public-url", url, "--password-file", "a %file").stdout
    (start,) = (line for line in unit.splitlines() if line.startswith("ExecStart="))
    escaped = str(ROOT / "a %file").replace("%", "%%")
    assert start.endswith(f' --public-url {url} --password-file "{escaped}"')
    for wrong in (["--password-file", "x"], ["--public-url", url]):
        done = digitd("service", *wrong, "--config", box.config)
        assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
@pytest.mark.parametrize("name", ["bob's", 'a"b', "a\\b", "$HOME%d", "#{x}é"])
def test_paths_of_all_kinds_are_one_word(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    unit = tmp_path / "digitd.service"
    unit.write_text(digitd("service", "--config", Box(tmp_path / name).config).stdout)
    verify_unit(unit)


@pytest.mark.parametrize("outbox", ["../away/outbox", "link/outbox"])
def test_service_may_write_where_links_and_dots_lead(tmp_path: Path, outbox: str) -> None:
    box = Box(tmp_path / "digits")
    (tmp_path / "away").mkdir()
    (box.folder / "link").symlink_to("../away")
    box.configure(outbox=outbox, metrics_file="link/digitd.prom")
    unit = digitd("service", "--config", box.config).stdout
    assert f"ReadWritePaths={tmp_path} -{tmp_path}/away\n" in unit
    assert f"RequiresMountsFor={box.inbox} {tmp_path}/away/outbox\n" in unit
    assert f"WorkingDirectory={tmp_path}\n" in unit


def test_unit_starts_after_the_clock_is_set(box: Box) -> None:
    lines = digitd("service", "--config", box.config).stdout.splitlines()
    assert "After=local-fs.target remote-fs.target time-sync.target" in lines
    # systemd.special(7): "should be ordered after this unit, but not pull it in"
    assert not any(line.startswith("Wants=") for line in lines)


def test_folder_of_the_metrics_is_writable(box: Box) -> None:
    box.configure(metrics_file="/var/lib/node exporter/digitd.prom")
    unit = digitd("service", "--config", box.config).stdout
    escaped = str(box.folder).replace("%", "%%")
    assert f'ReadWritePaths="{escaped}" "-/var/lib/node exporter"\n' in unit


def test_review_page_can_promote_models_beside_a_config_elsewhere(box: Box, tmp_path: Path) -> None:
    elsewhere = tmp_path / "etc"
    elsewhere.mkdir()
    config = elsewhere / "digits.yaml"
    config.write_text(box.config.read_text() + f"inbox: {box.inbox}\noutbox: {box.outbox}\n")
    escaped = str(box.folder).replace("%", "%%")
    review = digitd("service", "--review", "--config", config).stdout
    assert f'ReadWritePaths="{escaped}" -{elsewhere}/models\n' in review
    assert f'ReadWritePaths="{escaped}"\n' in digitd("service", "--config", config).stdout
    config.write_text(config.read_text() + "model: mine.keras\n")
    review = digitd("service", "--review", "--config", config).stdout
    assert f'ReadWritePaths="{escaped}"\n' in review


TLS = "{ca: ca.pem, cert: node.pem, key: node-key.pem}"


def test_daemon_of_a_cluster_may_use_the_network(box: Box) -> None:
    alone = sandbox(digitd("service", "--config", box.config).stdout)
    box.configure(cluster="tls://scheduler:8786", cluster_tls=TLS)
    of_cluster = sandbox(digitd("service", "--config", box.config).stdout)
    assert alone ^ of_cluster == {
        *("PrivateNetwork=yes", "RestrictAddressFamilies=AF_UNIX"),
        *("RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6", "IPAddressAllow=any"),
    }


def test_units_of_a_cluster_name_its_address_and_certificates(box: Box) -> None:
    box.configure(cluster="tls://scheduler:8786", cluster_tls=TLS)
    both = digitd("service", "--cluster", "--config", box.config).stdout
    one, other = (
        digitd("service", f"--cluster={kind}", "--user", "ana", "--config", box.config).stdout
        for kind in ("scheduler", "worker")
    )
    assert both == (one + other).replace("User=ana", "User=digitd")
    escaped = str(box.folder).replace("%", "%%")
    for unit in (one, other):
        assert f'--tls-key "{escaped}/node-key.pem"\n' in unit
        assert "ALLOWED_FAILURES=0\n" in unit
        assert "REQUIRE_ENCRYPTION=True\n" in unit
        assert "User=ana\n" in unit
        assert "Restart=always\n" in unit
        assert "{" not in unit
    assert "--host tls://0.0.0.0 --port 8786 " in one
    assert "dask_worker tls://scheduler:8786 " in other


def test_units_of_a_cluster_need_its_address(box: Box) -> None:
    done = digitd("service", "--cluster", "--config", box.config)
    assert (done.returncode, done.stdout) == (78, "")
    assert "cluster: is not set" in done.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("digitd-review.service", "--review"),
        ("digitd-scheduler.service", "--cluster=scheduler"),
        ("digitd-worker@.service", "--cluster=worker"),
    ],
)
def test_systemd_accepts_the_units(box: Box, tmp_path: Path, name: str, option: str) -> None:
    box.configure(cluster="tls://scheduler:8786", cluster_tls=TLS)
    unit = tmp_path / name
    unit.write_text(digitd("service", option, "--config", box.config).stdout)
    verify_unit(unit)


def test_service_warns_of_a_user_who_cannot_run_this_python(box: Box) -> None:
    with TemporaryDirectory() as closed:  # mode 0700
        venv = Path(closed) / "venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
        python = [str(venv / "bin" / "python"), "-P", "-m", "daemon"]
        env = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), *site.getsitepackages()))}

        def warning(user: str) -> str:
            command = [*python, "service", "--user", user, "--config", str(box.config)]
            done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
            assert f"User={user}\n" in done.stdout
            return done.stderr

        for user in ("nobody", "no-such-user"):
            said = f"digitd: {closed}: user {user} has no permission for it, so the service cannot"
            assert warning(user).startswith(said)
        assert f"{closed}: user" not in warning("root")
        Path(closed).chmod(0o755)
        assert f"{closed}: user" not in warning("nobody")


def test_service_warns_of_what_it_would_not_find_in_its_own_tmp() -> None:
    visible = "/var/lib" if os.geteuid() == 0 else Path.home()
    with TemporaryDirectory(dir="/var/tmp") as hidden, TemporaryDirectory(dir=visible) as seen:
        config = Path(seen) / "config.yaml"
        config.write_text("")
        assert seen not in digitd("service", "--config", config).stderr
        config.write_text(f"inbox: {hidden}/inbox\n")
        inbox = digitd("service", "--config", config)
        assert inbox.returncode == 0
        assert f"digitd: {hidden}/inbox: the service cannot find it" in inbox.stderr
        config.write_text("")
        (Path(seen) / "outbox").symlink_to(hidden)
        assert f"digitd: {hidden}: the" in digitd("service", "--config", config).stderr
