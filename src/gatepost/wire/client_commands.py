"""The command lines of the SMTP client, none of which can carry a second command (case C26).

Every text that goes into a command passes one of the checks here, whoever supplied it: names from the
configuration, addresses from a peer or from the API, RFC 3461 values. A text that cannot be sent
raises `UnsendableText`; nothing is repaired silently, since a repaired address is another address.

RFC 5321 §4.1.1.2–3 (MAIL, RCPT), RFC 1870 (SIZE), RFC 6152 (BODY), RFC 6531 §3.4 (SMTPUTF8), RFC 3461 §4 (DSN),
RFC 8689 §2 (REQUIRETLS).
"""

from __future__ import annotations

from gatepost.core.address import Address
from gatepost.core.envelope import Notify, Recipient
from gatepost.wire.client_events import Capabilities, Transaction

_NOTIFY_ORDER = (Notify.NEVER, Notify.SUCCESS, Notify.FAILURE, Notify.DELAY)


class UnsendableText(ValueError):
    """A text that would change the meaning of the command it stands in, or that the peer cannot take."""


def checked(text: str, what: str) -> str:
    """`text` itself if it is free of control characters. Raises UnsendableText naming `what`."""
    if text.isascii():
        if text.isprintable():
            return text
    elif not any(_forbidden(char) for char in text):
        return text
    raise UnsendableText(f"{what} has control characters")


def _forbidden(char: str) -> bool:
    """C0 and C1 controls, line separators, and what UTF-8 cannot hold."""
    return char < " " or "\x7f" <= char <= "\x9f" or char in "\u2028\u2029" or "\ud800" <= char <= "\udfff"


def checked_word(text: str, what: str) -> str:
    """`text` if it is one ASCII word without blanks: a host name or the value of a parameter."""
    if text and text.isascii() and text.isprintable() and " " not in text:
        return text
    raise UnsendableText(f"{what} is not a word of printable ASCII")


def path(address: Address, *, utf8: bool) -> str:
    """The address for between the angle brackets. Raises UnsendableText."""
    text = address.text
    if not text.isascii() and not utf8:
        raise UnsendableText("an address needs SMTPUTF8 and the peer does not offer it")
    checked(text, "an address")
    # Blanks and brackets are legal in a quoted local part only; elsewhere they would end the path.
    if (" " in text or "<" in text or ">" in text) and not _quoted_throughout(text):
        raise UnsendableText("an address has a blank or an angle bracket outside quotes")
    return text


def _quoted_throughout(text: str) -> bool:
    """True when blanks and brackets stand only inside the one quoted string that opens the address."""
    if not text.startswith('"'):
        return False
    position = 1
    while position < len(text) and text[position] != '"':
        position += 2 if text[position] == "\\" else 1
    tail = text[position + 1 :]
    return position < len(text) and not any(char in ' <>"' for char in tail)


def mail_line(transaction: Transaction, offer: Capabilities) -> str:
    """`MAIL FROM:<…>` with the parameters that the peer offers, and its CRLF."""
    line = f"MAIL FROM:<{path(transaction.sender, utf8=offer.smtputf8)}>"
    if offer.size is not None and transaction.size:
        line += f" SIZE={transaction.size:d}"
    if transaction.body_8bit and offer.eightbitmime:
        line += " BODY=8BITMIME"
    if transaction.smtputf8 and offer.smtputf8:
        line += " SMTPUTF8"
    if transaction.requiretls and offer.requiretls:
        line += " REQUIRETLS"
    if offer.dsn and transaction.use_dsn:
        if transaction.ret:
            line += f" RET={transaction.ret.value}"
        if transaction.envelope_id:
            line += f" ENVID={checked_word(transaction.envelope_id, 'an envelope id')}"
    return line + "\r\n"


def rcpt_line(recipient: Recipient, transaction: Transaction, offer: Capabilities) -> str:
    """`RCPT TO:<…>`; NOTIFY and ORCPT go on as they came and are never invented (RFC 3461 §5.2.1)."""
    line = f"RCPT TO:<{path(recipient.address, utf8=offer.smtputf8)}>"
    if offer.dsn and transaction.use_dsn:
        if recipient.notify:
            line += f" NOTIFY={','.join(n.value for n in _NOTIFY_ORDER if n in recipient.notify)}"
        if recipient.original:
            line += f" ORCPT={_original(recipient.original, utf8=offer.smtputf8)}"
    return line + "\r\n"


def _original(value: str, *, utf8: bool) -> str:
    if not value.isascii():
        if utf8:
            if " " in value:
                raise UnsendableText("an original recipient has a blank")
            return checked(value, "an original recipient")
        # RFC 6533 §3: unitext becomes the \x{HEX} form towards a host without SMTPUTF8.
        value = "".join(char if char < "\x7f" else f"\\x{{{ord(char):X}}}" for char in value)
    return checked_word(value, "an original recipient")
