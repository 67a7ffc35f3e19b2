"""What the command `nas` runs: the command line, whose import Ctrl-C may end as well as what it does."""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """As `nas.cli.main`."""
    try:
        from nas.cli import main as run
    except KeyboardInterrupt:
        print("nas: interrupted", file=sys.stderr)
        sys.exit(130)
    run()
