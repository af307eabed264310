"""`python -m opendify.settings` says whether a server would start."""

import sys

from opendify.settings.check import check

if __name__ == "__main__":
    sys.exit(check())
