"""``python -m kinto_attachment``: the command line where its script is not on the PATH."""

import sys

from kinto_attachment.commands import main

if __name__ == "__main__":
    sys.exit(main())
