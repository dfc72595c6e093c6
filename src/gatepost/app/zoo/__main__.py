"""`python -m gatepost.app.zoo OPTIONS`: the zoo, inside its own network. Only `gatepost zoo` calls it (`namespace.enter`).

It loads the zoo inside `run`, so that Ctrl-C in the first second ends it as quietly as later.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from gatepost.app.main import run


def _visit(arguments: Sequence[str]) -> int:
    from gatepost.app.zoo.visit import zoo

    return zoo(arguments)


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(run(sys.argv[1:], _visit))
