"""`python -m gatepost.app.show [--home DIR]`: what `make run` runs.

It loads the show inside `run`, so that Ctrl-C in the first second ends it as quietly as later.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from gatepost.app.main import run


def _show(arguments: Sequence[str]) -> int:
    from gatepost.app.show.command import show

    return show(arguments)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], _show))
