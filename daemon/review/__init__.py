"""The review page: a web server of its own, which works beside a running daemon or without one."""
