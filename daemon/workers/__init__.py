"""The processes that read."""
