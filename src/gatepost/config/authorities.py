"""The configuration of what verifies peers: lists of roots, and where revocation lists come from (R11)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from gatepost.config.section import Section
from gatepost.config.values import Duration, Fault, Flag, Name, WrittenText, check_text

DAY = 86_400
SHORTEST = 300  # seconds between two fetches of one list
MAX_SOURCES = 100


def _url(value: str) -> str:
    """An http or https URL. Which hosts it may name is not limited: the operator wrote it."""
    check_text(value)
    hint = "for example http://crl.example/list.crl"
    try:
        parts = urlsplit(value)
        port_exists = parts.port is None or parts.port > 0
    except ValueError:
        raise Fault("is not a URL", hint) from None
    if parts.scheme not in ("http", "https"):
        raise Fault(
            "is not an http or https URL", f"{hint}; a file is taken with `gatepost ca crl import FILE`"
        )
    if not parts.hostname or not value.isascii() or " " in value or not port_exists:
        raise Fault("is not a URL", hint)
    if parts.username is not None or parts.fragment:
        raise Fault("has a user or a fragment", "give the plain URL of the list")
    return value


UrlText = Annotated[WrittenText, Field(max_length=1_000), AfterValidator(_url)]
"""An http or https URL."""


class RevocationSource(Section):
    """Where a revocation list is fetched. Written as its URL alone, it has no name and is fetched once a day."""

    url: UrlText = Field(
        description="The list, PEM or DER. It may be on an inside address.",
        examples=["http://crl.example/list.crl"],
    )
    name: Name | None = Field(default=None, description="What it is called in lists; absent: its URL.")
    secondary: UrlText | None = Field(default=None, description="Asked when the first URL does not answer.")
    every: Duration = Field(
        default=DAY,
        description="Longest time between two fetches; sooner when its next update is due.",
    )

    @property
    def title(self) -> str:
        """What it is called."""
        return self.name or self.url

    @field_validator("every")
    @classmethod
    def _not_too_often(cls, value: int) -> int:
        if value < SHORTEST:
            raise Fault("is too often", "at least 5m")
        return value

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, data: Any) -> Any:
        return {"url": _url(data)} if isinstance(data, str) else data

    @model_serializer(mode="wrap")
    def _to_text(self, write: SerializerFunctionWrapHandler) -> Any:
        written = write(self)
        return written["url"] if set(written) == {"url"} else written


class StaleRule(StrEnum):
    """What a revocation list that is out of date does to the certificates that it covers."""

    WARN = "warn"
    REFUSE = "refuse"


class CertificateAuthorities(Section):
    """Which authorities verify peers, and what revokes their certificates (R11)."""

    system: Flag = Field(default=True, description="Use the system's bundle.")
    custom: Flag = Field(default=False, description="Use the custom list.")
    crl: tuple[RevocationSource, ...] = Field(
        default=(),
        max_length=MAX_SOURCES,
        description="Revocation lists that are fetched; each a URL, or a section.",
        examples=[["https://crl.example/list.crl"]],
    )
    crl_stale: StaleRule = Field(
        default=StaleRule.WARN,
        description="A list out of date: `warn` verifies on and says so, `refuse` verifies nothing that it covers.",
    )
