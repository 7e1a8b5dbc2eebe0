"""`digitd review` with a bug in the live page.

``python -m support.buggy_live review --config FILE``
"""

from __future__ import annotations

import sqlite3

from daemon.cli import main
from daemon.review import queries


def fail(db: sqlite3.Connection) -> list[int]:
    raise ZeroDivisionError(f"a secret that no page may show: {db}")


if __name__ == "__main__":
    queries.histogram = fail
    main()
