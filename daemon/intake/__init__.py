"""From the inbox to a claimed file."""
