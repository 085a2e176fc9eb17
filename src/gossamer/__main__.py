"""``python -m gossamer`` is the command ``gossamer``."""

from gossamer.cli.app import main

if __name__ == "__main__":
    main()
