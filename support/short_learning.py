"""``digitd`` whose ``learn`` takes few steps: ``python -m support.short_learning learn …``.

``python -m support.short_learning CONFIG…`` learns in each config, and imports TensorFlow once.
"""

from __future__ import annotations

import sys

from daemon.cli import main
from daemon.training import tuning

if __name__ == "__main__":
    tuning.STEPS = tuning.LINE_STEPS = 4  # 150 in the program
    if sys.argv[1] == "learn":
        main()
    for config in sys.argv[1:]:
        main(["learn", "--config", config], standalone_mode=False)
