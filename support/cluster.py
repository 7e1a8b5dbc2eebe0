"""A real Dask cluster on this machine: a scheduler and workers, with TLS, that can be killed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Self

from daemon.systemd.units import DASK_SETTINGS
from support.daemon import ROOT
from support.waiting import DEADLINE_SECONDS, until

if TYPE_CHECKING:
    from pathlib import Path


def certificates(folder: Path, *names: str) -> None:
    """Make a certificate authority, and certificates that it signs; as docs/cluster.md says."""

    def openssl(*arguments: str) -> None:
        subprocess.run(
            ["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60
        )

    new = ("-newkey", "rsa:2048", "-nodes")
    openssl(
        *("req", "-x509", *new, "-days", "3650", "-subj", "/CN=digitd"),
        *("-keyout", "ca-key.pem", "-out", "ca.pem"),
    )
    for name in names:
        openssl("req", *new, "-subj", f"/CN={name}", "-keyout", f"{name}-key.pem", "-out", "csr")
        openssl(
            *("x509", "-req", "-days", "3650", "-in", "csr", "-CA", "ca.pem"),
            *("-CAkey", "ca-key.pem", "-CAcreateserial", "-out", f"{name}.pem"),
        )


class Cluster:
    """A scheduler and workers, each in a process group of its own.

    As a context manager it ends with the test.
    """

    def __init__(self, folder: Path, *, host: str = "127.0.0.1") -> None:
        self.folder = folder
        self._host, self._port = host, 0
        self._scheduler: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []
        if not (folder / "ca.pem").exists():
            certificates(folder, "node")
        self.start_scheduler()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            _kill(worker)
        self.kill_scheduler()

    @property
    def address(self) -> str:
        """Where the scheduler listens."""
        return f"tls://{self._host}:{self._port}"

    @property
    def settings(self) -> dict[str, object]:
        """The settings for config.yaml."""
        return {"cluster": self.address, "cluster_tls": self.tls_settings(self.folder)}

    @staticmethod
    def tls_settings(folder: Path) -> str:
        """Return the setting that names the certificates in a folder."""
        files = {"ca": "ca.pem", "cert": "node.pem", "key": "node-key.pem"}
        named = ", ".join(f"{key}: {folder / file}" for key, file in files.items())
        return f"{{{named}}}"

    @property
    def log(self) -> str:
        """What the scheduler and the workers have said."""
        log = self.folder / "cluster.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def start_scheduler(self) -> None:
        """Start it on a free port, or on its port of before."""
        before = len(self._ports())
        self._scheduler = self._start(
            "scheduler", "--host", f"tls://{self._host}", "--port", str(self._port)
        )
        until(lambda: len(self._ports()) > before, "a scheduler")
        self._port = self._ports()[-1]

    def kill_scheduler(self) -> None:
        if self._scheduler is not None:
            _kill(self._scheduler)

    def start_workers(
        self,
        count: int = 1,
        *,
        preload: str = "daemon.cluster.remote",
        certificates: Path | None = None,
        within: tuple[str, ...] = (),
    ) -> None:
        """Start workers.

        Args:
            count: how many.
            preload: the module that offers the version.
            certificates: a folder with others than the scheduler's.
            within: a command that runs each of them.
        """
        for _ in range(count):
            number = len(self.workers)
            local = self.folder / f"worker{number}"
            self.workers.append(
                self._start(
                    *("worker", self.address, "--nthreads", "1", "--no-nanny"),
                    *("--preload", preload, "--local-directory", str(local)),
                    *("--death-timeout", "30"),
                    certificates=certificates,
                    within=within,
                )
            )

    def replace_worker(self, number: int) -> None:
        """Kill a worker's process group, and start another in its place."""
        _kill(self.workers[number])
        shutil.rmtree(self.folder / f"worker{number}", ignore_errors=True)
        old = self.workers
        self.workers = old[:number]
        self.start_workers()
        self.workers += old[number + 1 :]

    def replace_ended_workers(self) -> None:
        """Start a new worker for each that has ended by itself, as systemd does."""
        for number, worker in enumerate(self.workers):
            if worker.poll() is not None:
                self.replace_worker(number)

    def _ports(self) -> list[int]:
        """Return the port of each scheduler so far."""
        return [int(port) for port in re.findall(r"Scheduler at: +tls://\S+:(\d+)", self.log)]

    def _start(
        self, *arguments: str, certificates: Path | None = None, within: tuple[str, ...] = ()
    ) -> subprocess.Popen[bytes]:
        folder = certificates or self.folder
        tls = (
            *("--tls-ca-file", str(folder / "ca.pem"), "--tls-cert", str(folder / "node.pem")),
            *("--tls-key", str(folder / "node-key.pem"), "--no-dashboard"),
        )
        program = f"distributed.cli.dask_{arguments[0]}"
        with (self.folder / "cluster.log").open("ab") as log:
            return subprocess.Popen(
                [*within, sys.executable, "-m", program, *arguments[1:], *tls],
                cwd=self.folder,
                env={
                    **os.environ,
                    "PYTHONPATH": str(ROOT),
                    **DASK_SETTINGS,
                    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "30s",
                    "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True",
                },
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(DEADLINE_SECONDS)
