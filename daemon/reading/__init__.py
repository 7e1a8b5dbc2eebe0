"""Read an image: bytes, pixels, ink, 28x28, probabilities, verdict."""
