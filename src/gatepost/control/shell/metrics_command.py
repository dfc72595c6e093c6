"""`gatepost metrics`"""

from __future__ import annotations

import sys

from gatepost.control.shell.client import Client
from gatepost.control.shell.options import HomeOption, JsonOption
from gatepost.control.shell.screen import say_json


def metrics(as_json: JsonOption = False, home: HomeOption = None) -> None:
    """Print the running gateway's counters in the text form of Prometheus."""
    found = Client(home).call_running("metrics")
    if as_json:
        say_json(found)
    else:
        sys.stdout.write(found["text"])
