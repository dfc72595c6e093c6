"""Not yet."""

from __future__ import annotations

from gatepost.app.zoo.table.shape import Inhabitant, StruckOut

INHABITANTS: tuple[Inhabitant, ...] = ()
STRUCK_OUT: tuple[StruckOut, ...] = ()
