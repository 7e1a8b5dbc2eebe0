"""Tests of what digitd promises, on the real program."""
