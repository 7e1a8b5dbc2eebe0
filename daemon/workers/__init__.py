"""The worker processes, which read files."""
