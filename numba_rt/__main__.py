"""`python -m numba_rt`: the command line."""

import sys

from numba_rt.cli import main

if __name__ == "__main__":
    sys.exit(main())
