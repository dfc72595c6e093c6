"""Every code of a reason stands in the page that explains them, and no other does."""

from __future__ import annotations

import re
from pathlib import Path

from gatepost.core.reasons import AskedBy, ReasonCode

PAGE = Path(__file__).parents[2] / "docs" / "outgoing-tls.md"


def test_the_page_has_each_code_once() -> None:
    section = PAGE.read_text().partition("### Codes of reasons")[2].partition("\n#")[0]
    explained, _, table = section.partition("| --- | --- |")
    assert sorted(re.findall(r"`([a-z-]+)`", table)) == sorted(ReasonCode)
    assert set(AskedBy) <= set(re.findall(r"`([a-z-]+)`", explained))
