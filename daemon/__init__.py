"""digitd: watch a folder, read the handwritten digit in each image, record every result.

In Python, ``Reader`` reads images without a daemon; see its documentation. The names in ``__all__``
are public, all other modules and names may change.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["DigitdError", "ModelError", "Reader", "Status", "Verdict", "__version__"]

if TYPE_CHECKING:
    from daemon.errors import DigitdError, ModelError
    from daemon.reader import Reader
    from daemon.records import Status, Verdict
else:

    def __getattr__(name: str) -> object:
        """Return a public name. Only then are numpy and OpenCV imported, which take 0.5 s."""
        if name not in __all__:
            raise AttributeError(f"module 'daemon' has no attribute {name!r}")
        from daemon import reader  # noqa: PLC0415

        return getattr(reader, name)
