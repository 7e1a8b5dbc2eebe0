"""Draw digits in four rare handwriting styles, to measure the model on.

``python -m benchmarks.styles FOLDER [--each 500] [--seed 7]``

The drawing shares no code and no parameters with training: it measures how well the model reads
styles as people write them, not how well it reads its own training material.
"""
