"""How long records of deliveries and sessions are kept, and how many."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StrictInt

from gatepost.config.section import Section

Days = Annotated[StrictInt, Field(ge=0, le=366)]
Rows = Annotated[StrictInt, Field(ge=1_000, le=100_000_000)]


class Records(Section):
    """Records of deliveries, their connections and incoming sessions, for `gatepost policy rehearse` and tracking."""

    days: Days = Field(default=14, description="Days for which they are kept; 0 keeps none.")
    rows: Rows = Field(
        default=200_000, description="Most records of each kind that are kept; the oldest go first."
    )
