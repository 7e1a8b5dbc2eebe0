"""The units, notifications and journal of systemd."""
