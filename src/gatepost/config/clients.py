"""Which clients a mail flow policy accepts by their certificate (R22): an authority, a name, or the key itself.

An authority is written as its common name or as its whole subject (`CN=Example CA,O=Example`), compared without regard to case and
blanks. A key is the SHA-256 of its SubjectPublicKeyInfo, as `openssl x509 -pubkey -noout | openssl pkey -pubin -outform der | sha256sum`
gives it: it outlives the certificate's renewals, and no authority is needed for it. What an entry means is decided in
`policy.tls_in` and written down in decision 0031.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from gatepost.config.section import Section
from gatepost.config.values import Fault, Name, WrittenText, parse_host_name, parse_ip

_KEY = re.compile(r"[0-9a-f]{64}", re.ASCII)


def parse_client_name(text: str) -> tuple[str, bool]:
    """The name of a client in its comparable form, and whether it is an address. Raises Fault."""
    try:
        return str(parse_ip(text)), True
    except Fault:
        return parse_host_name(text), False


def _client_name(value: str) -> str:
    try:
        parse_client_name(value)
    except Fault as fault:
        hint = "write one host name or one IP address, as it stands in the certificate"
        raise Fault(fault.text, fault.hint or hint) from None
    return value


def _key(value: str) -> str:
    key = value.replace(":", "").lower()
    if not _KEY.fullmatch(key):
        raise Fault("is not the SHA-256 of a key", "write its 64 hexadecimal digits, in quotes")
    return key


ClientNameText = Annotated[WrittenText, AfterValidator(_client_name)]
"""A host name or IP address as written; `parse_client_name` gives its comparable form."""

KeyPinText = Annotated[WrittenText, AfterValidator(_key)]
"""SHA-256 of a SubjectPublicKeyInfo, lower-case hex."""


class ClientIdentity(Section):
    """One client, or the clients of one authority. Either `spki` alone, or `name`, `authority` or both."""

    authority: Name | None = Field(
        default=None,
        description="Common name or whole subject of an authority above the certificate. Absent: any that is trusted.",
    )
    name: ClientNameText | None = Field(
        default=None,
        description="Host name or IP address that the certificate must be valid for. Absent: any.",
    )
    spki: KeyPinText | None = Field(
        default=None,
        description="SHA-256 of the certificate's public key (SubjectPublicKeyInfo), hexadecimal: no authority is needed.",
    )
