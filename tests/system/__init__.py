"""Checks on a real systemd, booted in a container: `make system-test`, as root."""
