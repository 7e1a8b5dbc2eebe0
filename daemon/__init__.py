"""digitd: watch a folder, read the handwritten digit in each image, keep the books.

Data flows one way, and so do imports; the modules in the order a file meets them:

    cli       parses, prints, exits
    service   startup, loop, shutdown
    inbox     finds complete files
    spool     claims them by rename, counts attempts, recovers
    engine    hands batches to worker processes that may die
    reader    reads a batch: bytes in, readings out
      image     bytes -> pixels -> ink -> 28x28
      model     28x28 -> probabilities (the only module that imports Keras)
      picture   the annotated picture of one reading
    outbox    commits the row, publishes the files

At the bottom, imported by all: ``records`` (what travels), ``config``, ``formats``
and ``errors``.
"""

__version__ = "0.1.0"
