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
from daemon.records import Cluster, Parcel, Reading, ReadOptions
from daemon.workers.batch import Read
from daemon.workers.process import Patience
from daemon.workers.worker import read_known_digit

log = logging.getLogger(__name__)

_CONNECT_SECONDS = 10.0
_ASK_SECONDS = 10.0  # for an answer of the scheduler
_LOOK_SECONDS = 1.0  # between two looks at the workers
_RETRY_SECONDS = 2.0


class LostError(Exception):
    """A batch was not read because its worker went away or was too slow."""


class DisconnectedError(Exception):
    """A batch was not read because the scheduler went away."""


class Link(threading.Thread):
    """Keeps one connection, and knows what the cluster can do.

    Attributes:
        known: a worker's reading of the known digit; ``None`` until there is one.
        slots: how many batches the cluster can read at once.
        fault: why it cannot read now; ``None`` if it can, or has not been asked yet.
    """

    def __init__(
        self,
        cluster: Cluster,
        options: ReadOptions,
        read: Read,
        patience: Patience,
        on_change: Callable[[], None],
    ) -> None:
        """Take the settings; ``start`` connects.

        Args:
            cluster: where the scheduler is.
            options: the settings for ``read``; the model is sent to the workers.
            read: reads a batch in a worker; must be importable there.
            patience: how long a batch may take.
            on_change: called from this thread when an attribute has changed.
        """
        super().__init__(name="cluster", daemon=True)
        self.known: Reading | None = None
        self.slots = 0
        self.fault: ModelError | OSError | ClusterError | None = None
        self._cluster = cluster
        self._options = options
        self._read = read
        self._patience = patience
        self._on_change = on_change
        self._client: Any = None
        self._model_name = ""
        self._state: tuple[int, str, bool] = (0, "", False)
        self._stopping = threading.Event()
        # Dask's own lines would be between digitd's; what they mean is in ``fault``.
        logging.getLogger("distributed").setLevel(logging.CRITICAL + 1)

    def run(self) -> None:
        """Connect, watch, and connect again, until stopped."""
        while not self._stopping.is_set():
            try:
                self._stay_connected()
            # Dask raises what its layers raise: OSError, its own, those of tornado and of pickle.
            except Exception as error:  # noqa: BLE001 - a lost connection never ends the daemon
                self._change(self._described(error))
            finally:
                self._disconnect()
            self._stopping.wait(_RETRY_SECONDS)

    def stop(self) -> None:
        """End the connection; batches that are being read fail with ``DisconnectedError``."""
        self._stopping.set()
        self._disconnect()

    def read(self, _: ReadOptions, parcels: Sequence[Parcel]) -> list[Reading]:
        """Read a batch on a worker; may be called from any thread.

        Raises:
            LostError, DisconnectedError: it was not read, for no fault of its files.
            ModelError, OSError: the worker cannot read.
        """
        client = self._client
        if client is None:
            raise DisconnectedError("there is no connection to the scheduler")
        return self._run(client, parcels)

    def _run(self, client: Any, parcels: Sequence[Parcel]) -> list[Reading]:  # noqa: ANN401 - Dask's
        limit = self._patience.batch + self._patience.file * len(parcels)
        future = None
        try:
            # A task that is tried again elsewhere could take worker after worker down.
            future = client.submit(
                remote.read,
                self._read,
                self._sent,
                list(parcels),
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

    @property
    def _sent(self) -> ReadOptions:
        return replace(self._options, model=Path(self._model_name))

    def _stay_connected(self) -> None:
        data = self._options.model.read_bytes()
        self._model_name = f"digitd-{hashlib.sha256(data).hexdigest()[:16]}.keras"
        client = self._client = distributed.Client(  # type: ignore[no-untyped-call]
            self._cluster.address,
            security=self._security(),
            timeout=_CONNECT_SECONDS,
            name="digitd",
            set_as_default=False,
            direct_to_workers=True,  # results do not pass through the scheduler
        )
        client.register_plugin(remote.ModelFile(self._model_name, data), name=self._model_name)
        while not self._stopping.is_set() and client.status == "running":
            self._look(client)
            self._stopping.wait(_LOOK_SECONDS)
        if not self._stopping.is_set():
            raise ConnectionError("the scheduler went away")

    def _look(self, client: Any) -> None:  # noqa: ANN401 - Dask's
        """Count the workers that can read, and have the first one read the known digit."""
        scheduler = client.sync(
            client.scheduler.identity, n_workers=-1, callback_timeout=_ASK_SECONDS
        )
        workers = scheduler["workers"].values()
        slots = int(sum(each["resources"].get(remote.RESOURCE, 0) for each in workers))
        fault: ModelError | OSError | ClusterError | None = None
        if not slots:
            fault = self._nobody(len(workers), {name for w in workers for name in w["resources"]})
        elif self.known is None:
            try:
                self.known = read_known_digit(
                    lambda _, parcels: self._run(client, parcels), self._options
                )
            except (ModelError, OSError) as error:
                fault = error
            except (LostError, DisconnectedError) as error:
                fault = ClusterError(f"{self._cluster.address}: no worker answered: {error}")
        self._change(fault, slots)

    def _nobody(self, workers: int, resources: set[str]) -> ClusterError:
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

    def _change(self, fault: ModelError | OSError | ClusterError | None, slots: int = 0) -> None:
        self.slots, self.fault = slots, fault
        state = slots, str(fault), self.known is not None
        if state != self._state:
            self._state = state
            self._on_change()

    def _described(self, error: Exception) -> ModelError | OSError | ClusterError:
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
        client, self._client, self.known = self._client, None, None
        if client is not None:
            with suppress(Exception):  # it is gone anyway
                client.close(timeout=1)
