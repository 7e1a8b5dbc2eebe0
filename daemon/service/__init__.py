"""The running daemon, and what is said of it."""
