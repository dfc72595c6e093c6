"""How long a question about a recipient may take."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from gatepost.config.call_ahead import CallAhead


def test_a_question_ends_before_the_client_gives_up() -> None:
    assert CallAhead.model_validate({"timeout": "4m"}).timeout == 240
    with pytest.raises(ValidationError, match="longer than clients wait"):
        CallAhead.model_validate({"timeout": "241s"})
