"""``python -m edgekit``: the command line."""

import sys

from edgekit.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
