"""``python -m daemon`` is ``digitd``."""

from daemon.cli import main

if __name__ == "__main__":
    main()
