"""`python -m orthoscope`: the command line."""

import sys

from orthoscope.cli.main import main

sys.exit(main())
