"""docs/settings.md: every key of the configuration, from the typed model."""

from __future__ import annotations

import inspect
import re
from enum import Enum
from typing import Any

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from gatepost.config import (
    acme,
    alerts,
    authorities,
    bounce_verification,
    call_ahead,
    inbound,
    model,
    outbound,
    public_web,
    records,
    reputation,
    smtp_auth,
    tls_reports,
    tls_reports_received,
    tlsa,
)
from gatepost.config.section import Section

HEAD = """# Settings

Every key of the configuration, as `gatepost config apply FILE` takes it and `gatepost config show` gives it. The file is YAML
1.2; unknown keys are refused, absent ones have the default shown here, and sections may be left out. `[]` marks a list. Made by `scripts/docs`
from `src/gatepost/config/`.

Sizes are written `10MB` (B, KB, MB, GB, powers of 1,024), durations `90s` (s, m, h, d). A key that is stored but has no effect yet is named
by `gatepost config check`: `path: stored, not yet enforced`.
"""

KINDS = {
    "AddressText": "IP address",
    "AnswerText": "answer of a DNS list",
    "Attempts": "number or `never`",
    "CertificateNameText": "DNS name",
    "ClientNameText": "host name or IP address",
    "Ciphers": "cipher list",
    "Count": "number",
    "Day": "date",
    "Days": "number of days, 0 to 366",
    "DirectoryText": "https URL",
    "DnsServerText": "server",
    "DomainText": "domain",
    "Duration": "duration",
    "DurationOrNever": "duration or `never`",
    "DurationOrUnlimited": "duration or `unlimited`",
    "Flag": "`true` or `false`",
    "Fraction": "number from 0.1 to 0.95",
    "Groups": "group list",
    "HostText": "host name",
    "KeyPinText": "64 hexadecimal digits",
    "Limit": "number or `unlimited`",
    "MailboxEntryText": "mailbox entry",
    "MailboxText": "e-mail address",
    "MxPatternText": "host name or `*.`domain",
    "Name": "name",
    "Port": "1 to 65535",
    "ProgramText": "path",
    "Rows": "number from 1000 on",
    "ReplyText": "ASCII text",
    "RouteDomainText": "domain or `ALL`",
    "RouteHostText": "host",
    "SenderText": "sender entry",
    "Size": "size",
    "SniText": "host name or `*.`domain",
    "Text": "text",
    "UrlPathText": "path",
    "UrlText": "http or https URL",
    "Weight": "number from -10 to 10",
    "WebhookUrl": "http or https URL",
}

_WORD = re.compile(r"[A-Z]\w+")
_ROWS_OF_THE_ISSUE = re.compile(
    r" \((?:R[0-9]+[a-z]?(?:, | to |-)?)+\)|(?:, |\()(?:asyncos|architecture) [0-9.]+\)?"
)


def page() -> str:
    rows = [HEAD]
    rows += _section("", model.Document)
    return "\n".join(rows)


def _section(path: str, section: type[Section]) -> list[str]:
    """One table, then the sections that its keys lead to."""
    doc = cleaned(" ".join((inspect.getdoc(section) or "").split()))
    rows = [f"## {f'`{path}`' if path else 'The document'}", "", doc, ""]
    rows += ["| key | value | default | |", "| --- | --- | --- | --- |"]
    below: list[str] = []
    for name, field in section.model_fields.items():
        key, (kind, inner, listed) = field.alias or name, _kind(section, name, field)
        rows.append(f"| `{key}` | {kind} | {_default(field, inner)} | {cleaned(field.description or '')} |")
        if inner is not None:
            below += _section(f"{path}.{key}".lstrip(".") + ("[]" if listed else ""), inner)
    return [*rows, "", *below]


def _kind(section: type[Section], name: str, field: FieldInfo) -> tuple[str, type[Section] | None, bool]:
    """What a value is, in words; the section that it leads to, and whether a list of them."""
    written = next(vars(base)["__annotations__"][name] for base in section.__mro__
                   if name in vars(base).get("__annotations__", {}))  # fmt: skip
    text = written if isinstance(written, str) else str(written)
    listed = "tuple[" in text
    word = next(word for word in _WORD.findall(text.removeprefix("Annotated[")) if word != "None")
    many = "list: " if listed else ""
    if word in KINDS:
        return many + KINDS[word], None, listed
    kind = _named(word)
    if issubclass(kind, Enum):
        return many + ", ".join(f"`{member.value}`" for member in kind), None, listed
    assert issubclass(kind, Section)
    return ("list of sections" if listed else "section"), kind, listed


def _named(word: str) -> type[Any]:
    for module in (
        model,
        inbound,
        outbound,
        acme,
        alerts,
        authorities,
        bounce_verification,
        call_ahead,
        public_web,
        records,
        reputation,
        smtp_auth,
        tls_reports,
        tls_reports_received,
        tlsa,
    ):
        if word in vars(module):
            found: type[Any] = vars(module)[word]
            return found
    raise KeyError(word)


def _default(field: FieldInfo, inner: type[Section] | None) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None:
        return ""
    if inner is not None:
        return "its defaults" if isinstance(value, Section) else ("the standard ones" if value else "none")
    plain = TypeAdapter(field.rebuild_annotation()).dump_python(value, mode="json")
    if isinstance(plain, list):
        return ", ".join(f"`{item}`" for item in plain) or "none"
    return f"`{str(plain).lower() if isinstance(plain, bool) else plain}`"


def cleaned(text: str) -> str:
    """Without the marks that point to lists of requirements, and safe in a table."""
    return _ROWS_OF_THE_ISSUE.sub("", text).replace("|", "\\|")
