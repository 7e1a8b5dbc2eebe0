"""The connection to a Dask scheduler, in a thread that makes a new one when it is lost."""

import hashlib
import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import distributed
from distributed.client import FutureCancelledError
from distributed.comm.core import CommClosedError
from distributed.scheduler import KilledWorker
from distributed.security import Security

from daemon.cluster import remote
from daemon.errors import ClusterError, ModelError
from daemon.records import Cluster, FileContent, Reading, ReadOptions
from daemon.workers.worker import WorkerSettings, run_self_test

log = logging.getLogger(__name__)

_CONNECT_SECONDS = 10.0
_ASK_SECONDS = 10.0  # for an answer of the scheduler
_COUNT_SECONDS = 1.0  # between two counts of the workers
_RETRY_SECONDS = 2.0


class LostError(Exception):
    """A batch was not read because its worker went away or was too slow."""


class DisconnectedError(Exception):
    """A batch was not read because the scheduler went away."""


class Link(threading.Thread):
    """Keeps one connection, and knows what the cluster can do.

    Attributes:
        self_test: a worker's reading of the known digit; ``None`` until there is one.
        slots: how many batches the cluster can read at once.
        error: why it cannot read now; ``None`` if it can, or has not been asked yet.
    """

    def __init__(
        self, cluster: Cluster, settings: WorkerSettings, on_change: Callable[[], None]
    ) -> None:
        """Take the settings; ``start`` connects.

        Args:
            cluster: where the scheduler is.
            settings: how workers read. The model and the expected values are sent to them once;
                ``settings.read`` must be importable there.
            on_change: called from this thread when an attribute has changed.
        """
        super().__init__(name="cluster", daemon=True)
        self.self_test: Reading | None = None
        self.slots = 0
        self.error: ModelError | OSError | ClusterError | None = None
        self._cluster = cluster
        self._settings = settings
        self._on_change = on_change
        self._client: Any = None
        self._model_name = self._values_name = ""
        self._state: tuple[int, str, bool] = (0, "", False)
        self._stopping = threading.Event()
        # Silence Dask's logger: ``error`` already reports what its messages mean.
        logging.getLogger("distributed").setLevel(logging.CRITICAL + 1)

    def run(self) -> None:
        """Connect, watch, and connect again, until stopped."""
        while not self._stopping.is_set():
            try:
                self._stay_connected()
            # Dask raises what its layers raise: OSError, its own, those of tornado and of pickle.
            except Exception as error:  # noqa: BLE001 - a lost connection never ends the daemon
                self._change(self._describe(error))
            finally:
                self._disconnect()
            self._stopping.wait(_RETRY_SECONDS)

    def stop(self) -> None:
        """End the connection; batches that are being read fail with ``DisconnectedError``."""
        self._stopping.set()
        self._disconnect()

    def read(self, options: ReadOptions, contents: Sequence[FileContent]) -> list[Reading]:
        """Read a batch on a worker; may be called from any thread.

        Raises:
            LostError, DisconnectedError: it was not read, for no fault of its files.
            ModelError, OSError: the worker cannot read.
        """
        client = self._client
        if client is None:
            raise DisconnectedError("there is no connection to the scheduler")
        return self._run(client, options, contents)

    def _run(
        self,
        client: Any,  # noqa: ANN401 - Dask's
        options: ReadOptions,
        contents: Sequence[FileContent],
    ) -> list[Reading]:
        has_values = options.expected is not None and options.expected.values
        limit = self._settings.timeouts.seconds_for(
            len(contents), sum(len(content.data) for content in contents)
        )
        future = None
        try:
            # A task that is tried again elsewhere could take worker after worker down.
            future = client.submit(
                remote.read,
                self._settings.read,
                replace(
                    options,
                    model=Path(self._model_name),
                    expected=None if has_values else options.expected,
                ),
                self._values_name if has_values else "",
                list(contents),
                pure=False,
                retries=0,
                resources={remote.RESOURCE: 1},
            )
            readings: list[Reading] = future.result(timeout=limit)
        except (KilledWorker, TimeoutError) as error:
            raise LostError(str(error) or type(error).__name__) from error
        except (FutureCancelledError, CommClosedError) as error:
            raise DisconnectedError(str(error) or type(error).__name__) from error
        else:
            return readings
        finally:
            if future is not None:
                with suppress(Exception):  # the connection may be gone
                    future.cancel() if not future.done() else future.release()

    def _stay_connected(self) -> None:
        options = self._settings.options
        model, values = options.model.read_bytes(), _encode_values(options)
        self._model_name, self._values_name = _name(model, ".keras"), _name(values, ".txt")
        client = self._client = distributed.Client(  # type: ignore[no-untyped-call]
            self._cluster.address,
            security=self._security(),
            timeout=_CONNECT_SECONDS,
            name="digitd",
            set_as_default=False,
            direct_to_workers=True,  # results do not pass through the scheduler
        )
        for name, data in ((self._model_name, model), (self._values_name, values)):
            if data:
                client.register_plugin(remote.SentFile(name, data), name=name)
        while not self._stopping.is_set() and client.status == "running":
            self._count_workers(client)
            self._stopping.wait(_COUNT_SECONDS)
        if not self._stopping.is_set():
            raise ConnectionError("the scheduler went away")

    def _count_workers(self, client: Any) -> None:  # noqa: ANN401 - Dask's
        """Count the workers that can read, and have the first one read the known digit."""
        scheduler = client.sync(
            client.scheduler.identity, n_workers=-1, callback_timeout=_ASK_SECONDS
        )
        workers = scheduler["workers"].values()
        slots = int(sum(each["resources"].get(remote.RESOURCE, 0) for each in workers))
        error: ModelError | OSError | ClusterError | None = None
        if not slots:
            resources = {name for worker in workers for name in worker["resources"]}
            error = self._explain_no_workers(len(workers), resources)
        elif self.self_test is None:
            try:
                self.self_test = run_self_test(
                    lambda *arguments: self._run(client, *arguments), self._settings.options
                )
            except (ModelError, OSError) as raised:
                error = raised
            except (LostError, DisconnectedError) as raised:
                error = ClusterError(f"{self._cluster.address}: no worker answered: {raised}")
        self._change(error, slots)

    def _explain_no_workers(self, workers: int, resources: set[str]) -> ClusterError:
        if not workers:
            return ClusterError(
                f"{self._cluster.address}: the scheduler has no workers: start digitd-worker on "
                "a machine"
            )
        others = ", ".join(sorted(resources)) or "none with digitd"
        return ClusterError(
            f"{self._cluster.address}: no worker has {remote.RESOURCE} ({others}): install this "
            "version there, and start its workers as docs/cluster.md says"
        )

    def _change(self, error: ModelError | OSError | ClusterError | None, slots: int = 0) -> None:
        self.slots, self.error = slots, error
        state = slots, str(error), self.self_test is not None
        if state != self._state:
            self._state = state
            self._on_change()

    def _describe(self, error: Exception) -> ModelError | OSError | ClusterError:
        if isinstance(error, OSError) and error.filename is not None:
            return error  # a file of this machine: the model or a certificate
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        return ClusterError(f"{self._cluster.address}: the scheduler cannot be reached: {text}")

    def _security(self) -> Security:
        cluster = self._cluster
        if cluster.ca is None:
            return Security()  # type: ignore[no-untyped-call]
        for file in (cluster.ca, cluster.cert, cluster.key):
            if file is not None:
                file.open("rb").close()  # ssl does not say which file is missing
        return Security(  # type: ignore[no-untyped-call]
            tls_ca_file=str(cluster.ca),
            tls_client_cert=str(cluster.cert),
            tls_client_key=str(cluster.key),
            require_encryption=True,
        )

    def _disconnect(self) -> None:
        client, self._client, self.self_test = self._client, None, None
        if client is not None:
            with suppress(Exception):  # it is gone anyway
                client.close(timeout=1)


def _encode_values(options: ReadOptions) -> bytes:
    """Return the expected values as lines, in an order that does not change."""
    values = () if options.expected is None else sorted(options.expected.values)
    return "\n".join(values).encode("ascii")


def _name(data: bytes, ending: str) -> str:
    """Return the name under which workers have a file."""
    return f"digitd-{hashlib.sha256(data).hexdigest()[:16]}{ending}"
