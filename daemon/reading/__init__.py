"""Bytes to pixels to ink to 28x28 to probabilities to a verdict."""
