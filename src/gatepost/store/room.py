"""Whether an error says that the disk has no room: then nothing is wrong with the product, and its word is not "internal error".

SQLite says it in two ways: as such, and, where the shared memory of its log cannot grow, as an error of input and output.
"""

from __future__ import annotations

import apsw

from gatepost.core.errors import Exit, OperatorError
from gatepost.store.spool.files import NO_ROOM


def no_room(error: BaseException) -> bool:
    """Whether it failed for want of space, or of the owner's quota."""
    if isinstance(error, apsw.FullError):
        return True
    if isinstance(error, apsw.IOError):
        return bool(getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_SHMSIZE)
    return isinstance(error, OSError) and error.errno in NO_ROOM


def full_disk() -> OperatorError:
    """What people are told then."""
    return OperatorError(
        "no space is left on the disk", "free some where the home is, and try again", code=Exit.TRY_AGAIN
    )
