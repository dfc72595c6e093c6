"""What `gatepost zoo` was asked for, and its way from the command to the process inside the zoo's network: as one JSON text."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """`check`: run the table; else stay. `folder` is kept, an empty one means a temporary one. `person`: started by who is not root."""

    check: bool
    inhabitants: tuple[str, ...] = ()
    levels: tuple[str, ...] = ()
    as_json: bool = False
    folder: str = ""
    person: bool = False

    def text(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> Options:
        values = json.loads(text)
        return cls(
            **{**values, "inhabitants": tuple(values["inhabitants"]), "levels": tuple(values["levels"])}
        )
