"""The review page: a separate web server, which works with or without a running daemon."""
