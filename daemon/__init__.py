"""digitd: watch a folder, read the handwritten digit in each image, keep the books.

Data flows one way, and so do imports. Each module imports only what stands below it; those
that a dropped file meets stand in the order in which it meets them:

    cli           parses, prints, exits
    check         tries whether ``run`` would start
    service       startup, loop, shutdown
    pipeline      the files in hand, from claim to publish
    audit         proves that the books balance
    status        what the daemon says of itself, read back
    training      builds a model, and measures one
    predict       reads given files where they lie
    unit          the systemd unit
    logs          log lines, plain or for the journal
    notify        tells systemd how we are
    inbox         finds complete files
      watch       hears of arrivals
    spool         claims them by rename, counts attempts, recovers
    engine        hands batches to worker processes that may die
    worker        what runs in one
    reader        reads a batch: bytes in, readings out
      picture     the annotated picture of one reading
        glyphs    its words
        png       its file
      model       28x28 -> probabilities (the only module that imports Keras)
      image       bytes -> pixels
        ink       pixels -> ink -> 28x28
    outbox        commits the row, publishes the files
      rows        what a row says, written and read back
      ids         unique, and sorting by time
      lock        holds a folder against every other digitd

and at the bottom:

    config        config.yaml
    formats       what a file's own bytes say of it
    dropped       a dropped file on the disk: opened, and known again
    assets        the files that travel with the program
    records       what travels between the modules
    errors        what a person can act on
"""

__version__ = "0.1.0"
