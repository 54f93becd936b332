"""``python -m vinocast`` is ``vinocast``."""

from vinocast.cli import main

if __name__ == "__main__":
    main()
