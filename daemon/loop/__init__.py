"""The running daemon and the commands that inspect it."""
