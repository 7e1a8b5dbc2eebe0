"""Print how long one file takes, each time that a line comes in: ``python one_core.py FOLDER …``.

``benchmarks.speed`` runs this file with the ``daemon`` of any checkout, so that it imports nothing
else of this one. The arguments are the folder of the files, ``pictures`` or ``no-pictures``, and
``digit`` or ``number``.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from daemon.config import Config
from daemon.reading.reader import Reader
from daemon.records import FileContent

_BATCH = 64


def main() -> None:
    """Print the milliseconds of processor time for a file of the folder, read in batches."""
    folder, pictures, reads = sys.argv[1:]
    settings: dict[str, Any] = {"pictures": pictures == "pictures"}
    if reads == "number":  # older checkouts read digits only, and don't have the key
        settings["reads"] = reads
    reader = Reader(Config(**settings).reading)
    contents = [
        FileContent(file.name, file.read_bytes()) for file in sorted(Path(folder).iterdir())
    ]
    batches = [contents[start : start + _BATCH] for start in range(0, len(contents), _BATCH)]
    reader.read(batches[0])  # the first batch finds everything cold
    for _ in sys.stdin:
        began = time.process_time()
        for batch in batches:
            reader.read(batch)
        print(1000 * (time.process_time() - began) / len(contents), flush=True)


if __name__ == "__main__":
    main()
