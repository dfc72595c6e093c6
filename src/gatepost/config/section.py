"""What all sections of the configuration have in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


class Section(BaseModel):
    """A frozen part of the document; unknown keys are refused, a key without a value counts as absent.

    `None` in a field always means "not set": it is never written. A required field that may be repaired for the sake
    of finding further faults (see `examine`) carries a stand-in as its first example.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, use_enum_values=False)

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, data: Any) -> Any:
        if not isinstance(data, dict) or None not in data.values():
            return data
        known = {field.alias or name for name, field in cls.model_fields.items()}
        return {key: value for key, value in data.items() if value is not None or key not in known}
