"""What counts as a full disk."""

from __future__ import annotations

import errno

import apsw
import pytest

from gatepost.store.room import no_room


def _sqlite(code: int) -> apsw.Error:
    error = apsw.exception_for(code)
    assert isinstance(error, apsw.Error)
    return error


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "x"), True),
        (OSError(errno.EDQUOT, "x"), True),
        (OSError(errno.EIO, "x"), False),
        (_sqlite(apsw.SQLITE_FULL), True),
        (_sqlite(apsw.SQLITE_IOERR_SHMSIZE), True),
        (_sqlite(apsw.SQLITE_IOERR_READ), False),
        (_sqlite(apsw.SQLITE_CORRUPT), False),
        (ValueError("No space left on device"), False),
    ],
)
def test_only_want_of_space_is(error: BaseException, full: bool) -> None:
    assert no_room(error) is full
