"""Reading the committed versions as they are stored: config.show, config.history.

Apart from the other operations, since they need neither the model of the configuration nor certificates, and a command
that only shows should be quick.
"""

from __future__ import annotations

from typing import Any

from gatepost.certs.times import iso_time
from gatepost.control.ops.registry import Arguments, Context, operation
from gatepost.control.ports import Caller
from gatepost.core.errors import Exit, OperatorError
from gatepost.store.config_store import Version


def current(context: Context) -> Version:
    """The version in force. Raises OperatorError where a store has none (it is made with the home)."""
    version = context.store.latest()
    if version is None:
        raise OperatorError("the store has no configuration", code=Exit.FAULTY_CONFIGURATION)
    return version


async def show(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """The document in force."""
    version = current(context)
    return {"version": version.number, "document": version.content.document}


async def history(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """The versions, newest first."""
    return [
        {"version": row.number, "time": iso_time(row.at), "author": row.author, "comment": row.comment}
        for row in context.store.history()
    ]


OPERATIONS = (operation("config.show", show), operation("config.history", history))
