"""Decide who reads: worker processes of this machine, or a cluster."""

from daemon.config import Config
from daemon.errors import MissingPackageError
from daemon.workers.batch import Read
from daemon.workers.pool import Pool, worker_count
from daemon.workers.process import Patience
from daemon.workers.readers import Readers
from daemon.workers.worker import read as read_here


def readers(
    config: Config,
    workers: int | None = None,
    read: Read = read_here,
    patience: Patience = Patience(),  # noqa: B008 - frozen
) -> Readers:
    """Return the readers that a config asks for, started or about to be.

    Args:
        config: the settings.
        workers: the number of worker processes; ``None`` for the config's. A cluster has its own.
        read: reads a batch in a worker of this machine.
        patience: the timeouts of a worker.

    Raises:
        MissingPackageError: a cluster needs a package that is not installed.
    """
    if config.cluster_address is None:
        count = worker_count(config.workers) if workers is None else workers
        return Pool(config.reading, count, read, patience)
    try:
        from daemon.cluster.pool import ClusterPool  # noqa: PLC0415 - 60 MB
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"{error.name} is not installed, and `cluster` needs it: pip install 'digitd[cluster]'"
        ) from None
    return ClusterPool(config.cluster_address, config.reading, read, patience)
