"""digitd: watch a folder, read the handwritten digit in each image, record every result."""

__version__ = "0.1.0"
