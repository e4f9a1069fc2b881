"""``python -m lossk``: the same command as ``lossk``."""

from lossk.cli import main

if __name__ == "__main__":
    main()
