"""digitd: watch a folder, read the handwritten digit in each image, record every result.

Data flows in one direction, and so do imports. Each folder imports only folders below it in this
list, and each module only modules below it. A dropped file passes through them in this order:

    cli               the command line
    commands/         parse arguments, call, print, exit
        running       run, check, status, init, service
        reading       predict
        answers       audit, results, review, retry
        models        train, evaluate
        options       options that several commands have
    review/           the review page, a web server of its own
        server        lock, listen, run until stopped
        app           put the pages and their data together
        views         the HTML pages
        api           what the page's scripts ask for
        guard         refuse requests that do not come from the page itself
        connections   bound the connections
        pages         the templates and the files they load
        charts        charts as SVG
        gallery       the gallery's filter in the URL
        bodies        receive the bodies of requests
        drop          take files into the inbox
        events        the stream of events
        site          what the functions of the page share
        answers       check and store an answer
        queries       find rows in the index
        indexer       keep the index up to date
        index         the index of the rows, in SQLite
        figures       counts of the live page
        kinds         sort rows into kinds
        lines         read what is appended to a file
        images        have images decoded in a process of their own
        decoder       that process
        files         open the files that rows name
        access        who may use the page: addresses, token, password
    service/          the running daemon and the commands that inspect it
        footer        the live line on a terminal
        service       signals, one session after another, reload
        check         check whether ``run`` would start
        session       run one configuration: open, turn, stop
        pipeline      move files from claim to publish
        folders       create the inbox and the outbox, or check them
        status        the status page, written and read back
        metrics       counts for Prometheus
        drift         keep the record of drift
        notify        sd_notify
        bell          wake the loop
        predict       read files in place
        cluster_units  the systemd units of a cluster
        unit          the systemd unit
        logs          log lines, plain or for the journal
        journal       log to the journal with fields
    training/         build a model and measure it
    intake/           find complete files in the inbox and claim them
        retry         put files from failed/ back into the inbox
        inbox         hand out complete files
        listing       list and sort the names that match
        watch         notice arrivals
        completeness  decide when a file is complete
        deposit       put a file into the inbox, whole
        claims        claim by rename, recover what an earlier run claimed
        attempts      log each attempt to read a file and its outcome
    workers/          the worker processes
        start         decide who reads: processes here, or a cluster
        cluster       read on the machines of a cluster
        link          the connection to the scheduler
        remote        what runs in a worker of a cluster
        pool          give batches to workers, replace workers that die
        process       one worker process and the pipe to it
        readers       what the daemon asks of both
        worker        the main function of a worker process
        batch         open, hash, read, write the picture
    reading/          bytes to pixels to mask to 28x28 to probabilities to a verdict
        reader        bytes in, readings out
        picture/      the annotated pictures
            painter   the picture of a reading
            fault     the picture of a file that could not be read
            canvas    colours and text of both
            panels    scale an image to a panel, outline its ink
            text      draw text
            png       encode the file
            boxes     where the panels are
        model         load both networks: the eye and the classifier
        image         bytes -> pixels
        eye           pixels -> the mask of the digit -> 28x28, using the next two
        ink           how strong the ink is where the mask is
        glyph         ink -> 28x28
        formats       parse image headers
    ledger/           predictions.csv, the files that its rows name, and labels.csv
        audit         check that every file has its row, and every row its files
        drift         whether today's rows differ from earlier ones
        census        count the rows of all tables
        export        write the final answers as CSV, JSON lines or Parquet
        results       each row with what a person or the model says
        outbox        commit rows, publish files
        labels        append people's answers durably, read them back
        table         append rows durably, find rows
        archive       choose file names, move files
        retention     delete files that are too old
        published     the files in the outbox's folders
        appended      header and end of an append-only CSV file
        rename        rename without replacing a file
        rows          format and parse rows

and at the bottom, used by all of them:

    config            config.yaml
    untrusted         open untrusted files
    assets            the files shipped with the program
    records           the records that the modules exchange
    lock              lock a folder against other instances
    layout            the names of digitd's own files and folders
    ids               ids that are unique and sort by time
    errors            faults that a person can fix
"""

__version__ = "0.1.0"
