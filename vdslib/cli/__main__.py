"""``python -m vdslib.cli`` is the command ``vds``."""

import sys

from vdslib.cli import main

sys.exit(main())
