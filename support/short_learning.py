"""``digitd`` whose ``learn`` takes few steps: ``python -m support.short_learning learn …``.

``python -m support.short_learning CONFIG…`` learns in each config, and imports TensorFlow once.
"""

from __future__ import annotations

import sys

from daemon.cli import main
from daemon.training import tuning

if __name__ == "__main__":
    # 150 in the program. More than one, but few, would harm the classifier: Adam's first steps move
    # each weight equally far.
    tuning.STEPS, tuning.LINE_STEPS = 1, 4
    if sys.argv[1] == "learn":
        main()
    for config in sys.argv[1:]:
        main(["learn", "--config", config], standalone_mode=False)
