"""``make bench``: how fast digitd is, against the usual recipe and against its own parts."""
