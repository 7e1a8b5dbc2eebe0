"""digitd: watch a folder, read the handwritten digit in each image, record every result.

Data flows one way, and so do imports. Each folder imports only what stands below it, and so
does each module within its folder. A dropped file meets them in this order:

    cli               parse, print, exit
    service/          the running daemon and the commands that inspect it
        footer        the live line on a terminal
        service       signals, one session after another, reload
        check         try whether ``run`` would start
        session       one configuration in force: open, turn, stop
        pipeline      the files in hand, from claim to publish
        folders       make the inbox and the outbox, or check them
        status        the status page, written and read back
        notify        sd_notify
        bell          wake the loop
        predict       read given files in place
        unit          the systemd unit
        logs          log lines, plain or for the journal
    training/         build a model, and measure one
    intake/           from the inbox to a claimed file
        inbox         hand out complete files
        listing       names that match, and their order
        watch         notice arrivals
        completeness  tell when a file is complete
        claims        claim by rename, recover what an earlier run claimed
        attempts      which files were given to a worker, and what came of it
    workers/          the processes that read
        pool          hand batches to worker processes that may die
        process       one worker process and the pipe to it
        worker        what runs in one
        batch         open, hash, read, write the picture
    reading/          bytes to pixels to ink to 28x28 to probabilities to a verdict
        reader        bytes in, readings out
        picture/      the annotated pictures
            painter   the whole of it
            fault     the picture of a file that could not be read
            canvas    colours and lettering of both
            panels    an image scaled to a panel, its ink outlined
            text      words
            png       the file
        model         28x28 -> probabilities, by LiteRT
        image         bytes -> pixels
        ink           pixels -> ink -> 28x28, by the three below
        strokes       contrast -> the strokes of the digit
        paper         pixels -> contrast
        glyph         strokes -> 28x28
        formats       what the bytes of a file tell
    ledger/           predictions.csv and the files that its rows name
        audit         prove that every file has its row, and every row its files
        outbox        commit the rows, publish the files
        table         append rows durably, mend the end, find rows
        archive       choose names, move files to them
        rename        never replace a file
        rows          rows, written and parsed

and at the bottom, for all of them:

    config            config.yaml
    untrusted         open what strangers dropped
    assets            the files that travel with the program
    records           what travels between the modules
    lock              lock a folder against other instances
    layout            the names of digitd's own files and folders
    ids               unique, and sorting by time
    errors            what a person can act on
"""

__version__ = "0.1.0"
