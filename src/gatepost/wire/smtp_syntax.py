"""The small language of SMTP: paths, ESMTP parameters, and xtext; read strictly, in one place.

`parse_path` is what stands between an angle bracket and its partner, `parse_mail_parameters` and
`parse_rcpt_parameters` what comes behind. All of them take bytes of the peer and either give a value or raise
`SyntaxFault`, which carries the reply. No control character, bare CR or LF, NUL or undecodable octet survives into
a value. Local parts are kept as written: quotes, `%` and `!` mean nothing here (policy decides on relaying).

Sources: RFC 5321 §4.1.2 (grammar), §4.5.3.1 (limits), Appendix C (source routes are dropped); RFC 6531 (UTF-8 only with
SMTPUTF8); RFC 1870 (SIZE); RFC 3461 §4 and §5 (DSN parameters, xtext); RFC 6533 §3. Cases C23, C24.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from gatepost.core.address import (
    MAX_DOMAIN,
    MAX_LOCAL_PART,
    MAX_PATH,
    NULL_ADDRESS,
    Address,
    normalise_domain,
)
from gatepost.core.envelope import Notify, Ret
from gatepost.core.reply import Reply

MAX_ENVELOPE_ID = 100  # octets of ENVID in xtext, RFC 3461 §4.4
MAX_ORIGINAL = 500  # octets of ORCPT with its type, RFC 3461 §4.2

_ATOM = rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = rb"[A-Za-z0-9_-]{1,63}"
# The ordinary case in one pass: no construct overlaps another, so it cannot backtrack far.
_PLAIN = re.compile(
    rb"<(" + _ATOM + rb"(?:\." + _ATOM + rb")*)@((?:" + _LABEL + rb"\.)*" + _LABEL + rb")>(?=[ ]|\Z)"
)
_DOT_STRING = re.compile(_ATOM + rb"(?:\." + _ATOM + rb")*\Z")
_UTF8_DOT_STRING = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff.-]+\Z")
_DOMAIN = re.compile(rb"(?:" + _LABEL + rb"\.)*" + _LABEL + rb"\.?\Z")
_UTF8_DOMAIN = re.compile(r"[A-Za-z0-9_\x80-\U0010ffff.-]+\Z")
_ROUTE_TEXT = re.compile(rb"@[^\x00-\x20\x7f<>:\"\\]+\Z")
_KEYWORD = re.compile(rb"[A-Za-z0-9][A-Za-z0-9-]*\Z")
_XTEXT = re.compile(rb"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*\Z")
_XTEXT_UTF8 = re.compile(r"(?:[!-*,-<>-~\x80-\U0010ffff]|\+[0-9A-F]{2}|\\x\{[0-9A-F]{2,6}\})*\Z")
_HEX = re.compile(rb"\+([0-9A-F]{2})")
_TO_XTEXT = re.compile(rb"[^!-*,-<>-~]")


class SyntaxFault(Exception):
    """What a peer sent does not parse; `reply` is what it is told, without its own text in it."""

    def __init__(self, code: int, enhanced: str, text: str) -> None:
        super().__init__(text)
        self.reply = Reply(code, enhanced, (text,))


@dataclass(slots=True)
class MailParameters:
    """The parameters of MAIL; `size` None when SIZE was not given."""

    size: int | None = None
    body_8bit: bool = False
    smtputf8: bool = False
    ret: Ret = Ret.UNSET
    envelope_id: str = ""
    requiretls: bool = False


@dataclass(slots=True)
class RcptParameters:
    """The parameters of RCPT; `original` is ORCPT as received, in xtext."""

    notify: frozenset[Notify] = frozenset()
    original: str = ""


# --- paths ----------------------------------------------------------------------------------------


def split_plain(text: bytes) -> tuple[Address, bytes] | None:
    """`<local@domain>` of ordinary form in front of `text`, and what follows it; None for all other forms."""
    match = _PLAIN.match(text)
    if match is None:
        return None
    local, domain = match.groups()
    if len(local) > MAX_LOCAL_PART or len(domain) > MAX_DOMAIN or match.end() > MAX_PATH:
        return None  # parse_path says which limit it is
    name = domain.decode("ascii")
    user = local.decode("ascii")
    return Address(f"{user}@{name}", user, name.lower()), text[match.end() :]


def split_path(text: bytes) -> tuple[bytes, bytes]:
    """The path with its brackets at the beginning of `text`, and what follows it.

    Quoted strings may hold brackets and blanks. Raises SyntaxFault when there is no closed path, or
    when something other than a blank follows it (`<a@b>junk`, C24).
    """
    if not text.startswith(b"<"):
        raise SyntaxFault(501, "5.5.4", "Path in angle brackets expected")
    quoted = False
    i = 1
    while i < len(text):
        byte = text[i]
        if quoted and byte == 0x5C:
            i += 1
        elif byte == 0x22:
            quoted = not quoted
        elif byte == 0x3E and not quoted:
            break
        i += 1
    else:
        raise SyntaxFault(501, "5.5.4", "Path has no closing bracket")
    rest = text[i + 1 :]
    if i >= len(text) or (rest and not rest.startswith(b" ")):
        raise SyntaxFault(501, "5.5.4", "Unexpected text behind the path")
    return text[: i + 1], rest


def parse_path(text: bytes, *, allow_utf8: bool, allow_null: bool, allow_postmaster: bool = False) -> Address:
    """The address in `<…>`. A source route is checked for its form and dropped (RFC 5321 Appendix C).

    `allow_null` takes `<>`, `allow_postmaster` takes `<postmaster>` without a domain (§4.1.1.3).
    Raises SyntaxFault: 501 for the form, 553 for addresses that cannot be (limits, SMTPUTF8 missing).
    """
    if len(text) < 2 or text[:1] != b"<" or text[-1:] != b">":
        raise SyntaxFault(501, "5.5.4", "Path in angle brackets expected")
    if len(text) > MAX_PATH:
        raise SyntaxFault(501, "5.1.3", "Path too long")
    inner = text[1:-1]
    if not inner:
        if allow_null:
            return NULL_ADDRESS
        raise SyntaxFault(501, "5.1.3", "Empty address")
    if not inner.isascii() and not allow_utf8:
        raise SyntaxFault(553, "5.6.7", "Address needs SMTPUTF8")
    if inner.startswith(b"@"):
        inner = _without_route(inner)
    local, at, domain = _split_mailbox(inner)
    if not at:
        if allow_postmaster and local.lower() == b"postmaster":
            name = local.decode("ascii")
            return Address(name, name, "")
        raise SyntaxFault(553, "5.1.3", "Address has no domain")
    if len(local) > MAX_LOCAL_PART:
        raise SyntaxFault(501, "5.1.3", "Local part too long")
    local_text = _local_part(local)
    return Address(f"{local_text}@{_decode(domain)}", local_text, parse_domain(domain))


def parse_domain(domain: bytes) -> str:
    """A domain or an address literal `[192.0.2.1]`, `[IPv6:2001:db8::1]` in its comparable form."""
    if domain.startswith(b"["):
        return _literal(domain)
    if len(domain) > MAX_DOMAIN:
        raise SyntaxFault(501, "5.1.2", "Domain too long")
    if domain.isascii():
        sound = _DOMAIN.match(domain) is not None
    else:
        sound = _UTF8_DOMAIN.match(_decode(domain)) is not None
    if not sound:
        raise SyntaxFault(501, "5.1.3", "Bad domain syntax")
    try:
        return normalise_domain(_decode(domain))
    except ValueError:
        raise SyntaxFault(501, "5.1.3", "Bad domain syntax") from None


def _decode(text: bytes) -> str:
    try:
        decoded = text.decode("utf-8")  # strict: overlong forms and surrogates are refused
    except UnicodeDecodeError:
        raise SyntaxFault(501, "5.1.3", "Address is not valid UTF-8") from None
    if not decoded.isprintable():  # controls of C0 and C1, line and direction marks
        raise SyntaxFault(501, "5.1.3", "Control character in address")
    return decoded


def _without_route(inner: bytes) -> bytes:
    route, colon, mailbox = inner.partition(b":")
    if not colon or any(_ROUTE_TEXT.match(part) is None for part in route.split(b",")):
        raise SyntaxFault(501, "5.1.3", "Bad source route")
    return mailbox


def _split_mailbox(inner: bytes) -> tuple[bytes, bytes, bytes]:
    """Local part, `@` or nothing, domain; the `@` is the first one behind a quoted string, else the only one."""
    if not inner.startswith(b'"'):
        return inner.partition(b"@")
    i = 1
    while i < len(inner) and inner[i] != 0x22:
        i += 2 if inner[i] == 0x5C else 1
    if i >= len(inner):
        raise SyntaxFault(501, "5.1.3", "Quoted string is not closed")
    local, rest = inner[: i + 1], inner[i + 1 :]
    if rest and not rest.startswith(b"@"):
        raise SyntaxFault(501, "5.1.3", "Text behind a quoted string")
    return local, rest[:1], rest[1:]


def _local_part(local: bytes) -> str:
    text = _decode(local)
    if local.startswith(b'"'):
        return text  # _split_mailbox found its end, _decode refused controls
    if local.isascii():
        sound = _DOT_STRING.match(local) is not None
    else:
        sound = _UTF8_DOT_STRING.match(text) is not None and "" not in text.split(".")
    if not sound:
        raise SyntaxFault(501, "5.1.3", "Bad local part syntax")
    return text


def _literal(domain: bytes) -> str:
    inner = domain[1:-1]
    if not domain.endswith(b"]") or not inner.isascii() or b"%" in inner:
        raise SyntaxFault(501, "5.1.3", "Bad address literal")
    text = inner.decode("ascii")
    try:
        if text[:5].lower() == "ipv6:":
            ipaddress.IPv6Address(text[5:])
        else:
            ipaddress.IPv4Address(text)
    except ValueError:
        raise SyntaxFault(501, "5.1.3", "Bad address literal") from None
    return normalise_domain(f"[{text}]")


# --- parameters -----------------------------------------------------------------------------------


def parse_mail_parameters(text: bytes) -> MailParameters:
    """SIZE, BODY, SMTPUTF8, RET and ENVID behind the path of MAIL; any other one is 555 (RFC 5321 §4.1.1.11).

    AUTH (RFC 4954 §5) is read and not believed: nobody tells us who sent what to whom before.
    """
    found = MailParameters()
    for key, value in _parameters(text):
        if key == b"SIZE":
            found.size = parse_number(value, "SIZE")
        elif key == b"BODY":
            found.body_8bit = _body(value)
        elif key == b"SMTPUTF8":
            if value is not None:
                raise SyntaxFault(501, "5.5.4", "SMTPUTF8 takes no value")
            found.smtputf8 = True
        elif key == b"RET":
            found.ret = _ret(value)
        elif key == b"ENVID":
            found.envelope_id = _envelope_id(value)
        elif key == b"AUTH":
            if value is None or len(value) > MAX_ORIGINAL or not is_xtext(value):
                raise SyntaxFault(501, "5.5.4", "Bad value of AUTH")
        elif key == b"REQUIRETLS":
            if value is not None:
                raise SyntaxFault(501, "5.5.4", "REQUIRETLS takes no value")
            found.requiretls = True
        else:
            raise SyntaxFault(555, "5.5.4", "Unsupported parameter of MAIL")
    return found


def parse_rcpt_parameters(text: bytes, *, allow_utf8: bool = False) -> RcptParameters:
    """NOTIFY and ORCPT behind the path of RCPT; `allow_utf8` when MAIL had SMTPUTF8 (RFC 6533 §3)."""
    found = RcptParameters()
    for key, value in _parameters(text):
        if key == b"NOTIFY":
            found.notify = _notify(value)
        elif key == b"ORCPT":
            found.original = _original(value, allow_utf8)
        else:
            raise SyntaxFault(555, "5.5.4", "Unsupported parameter of RCPT")
    return found


def parse_number(value: bytes | None, what: str) -> int:
    """One to twenty decimal digits (RFC 1870 §4, RFC 3030 §2)."""
    if value is None or not 1 <= len(value) <= 20 or not value.isdigit():
        raise SyntaxFault(501, "5.5.4", f"{what} must be a decimal number")
    return int(value)


def _parameters(text: bytes) -> list[tuple[bytes, bytes | None]]:
    """The pairs of `KEY=value` and `KEY`; a repeated key is refused, for we would have to choose."""
    pairs: list[tuple[bytes, bytes | None]] = []
    for word in text.split(b" "):
        if not word:
            continue
        key, equals, value = word.partition(b"=")
        if _KEYWORD.match(key) is None or (equals and not value):
            raise SyntaxFault(501, "5.5.4", "Bad parameter syntax")
        key = key.upper()
        if any(key == seen for seen, _ in pairs):
            raise SyntaxFault(501, "5.5.4", "Parameter given twice")
        if len(pairs) == 16:  # more than exist; keeps the check above small
            raise SyntaxFault(501, "5.5.4", "Too many parameters")
        pairs.append((key, value if equals else None))
    return pairs


def _body(value: bytes | None) -> bool:
    kind = (value or b"").upper()
    if kind == b"8BITMIME":
        return True
    if kind == b"7BIT":
        return False
    raise SyntaxFault(501, "5.5.4", "Unsupported value of BODY")


def _ret(value: bytes | None) -> Ret:
    kind = (value or b"").upper()
    if kind == b"FULL":
        return Ret.FULL
    if kind == b"HDRS":
        return Ret.HEADERS
    raise SyntaxFault(501, "5.5.4", "RET must be FULL or HDRS")


def _envelope_id(value: bytes | None) -> str:
    if value is None or len(value) > MAX_ENVELOPE_ID or not is_xtext(value):
        raise SyntaxFault(501, "5.5.4", "Bad value of ENVID")
    return value.decode("ascii")


def _notify(value: bytes | None) -> frozenset[Notify]:
    names = (value or b"").upper().split(b",")
    known = {member.value.encode(): member for member in Notify}
    wanted = [known[name] for name in names if name in known]
    never = Notify.NEVER in wanted
    if len(wanted) != len(names) or len(set(wanted)) != len(wanted) or (never and len(wanted) > 1):
        raise SyntaxFault(501, "5.5.4", "Bad value of NOTIFY")
    return frozenset(wanted)


def _original(value: bytes | None, allow_utf8: bool) -> str:
    kind, semicolon, address = (value or b"").partition(b";")
    if not semicolon or not address or len(value or b"") > MAX_ORIGINAL or _KEYWORD.match(kind) is None:
        raise SyntaxFault(501, "5.5.4", "Bad value of ORCPT")
    if kind.lower() == b"utf-8":
        if not address.isascii() and not allow_utf8:
            raise SyntaxFault(501, "5.6.7", "ORCPT needs SMTPUTF8")
        sound = _XTEXT_UTF8.match(_decode(address)) is not None
    else:
        sound = is_xtext(address)
    if not sound:
        raise SyntaxFault(501, "5.5.4", "Bad value of ORCPT")
    return (value or b"").decode("utf-8")


# --- xtext ----------------------------------------------------------------------------------------


def is_xtext(text: bytes) -> bool:
    """Whether `text` is well-formed xtext (RFC 3461 §4): printable, no `=`, `+` only before two hex digits."""
    return _XTEXT.match(text) is not None


def encode_xtext(text: bytes) -> bytes:
    """Any octets as xtext; what comes out can never end a line or a parameter."""
    return _TO_XTEXT.sub(lambda match: b"+%02X" % match[0][0], text)


def decode_xtext(text: bytes) -> bytes:
    """The octets that an xtext stands for, which may hold anything. Raises ValueError when it is malformed."""
    if not is_xtext(text):
        raise ValueError("not xtext")
    return _HEX.sub(lambda match: bytes((int(match[1], 16),)), text)
