"""``python -m service`` is ``vinocast``."""

from service.cli import main

if __name__ == "__main__":
    main()
