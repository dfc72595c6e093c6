"""TLS of a session that comes in: offered, demanded, or demanded of some senders (R19, R20).

The level is the mail flow policy's; the certificate is the listener's. Off: STARTTLS is not offered. Preferred: it is
offered, and without it the session goes on in clear. Required: nothing but NOOP, EHLO, STARTTLS and QUIT before TLS
(RFC 3207 §4: 530). With `tls_mandatory_for` a policy demands TLS of the envelope senders of an address list only.
"""

from __future__ import annotations

from dataclasses import dataclass

from gatepost.core.address import Address
from gatepost.core.reply import Refusal
from gatepost.core.tls import InboundTls
from gatepost.policy.mailboxes import MailboxTable

STARTTLS_FIRST = Refusal(530, "5.7.0", "Must issue a STARTTLS command first")


@dataclass(frozen=True, slots=True)
class InboundTlsRule:
    """What a policy says of TLS on a listener; `senders` is the table of `tls_mandatory_for`."""

    level: InboundTls
    senders: MailboxTable | None = None
    senders_name: str = ""

    def offers_starttls(self, *, tls_active: bool) -> bool:
        """STARTTLS stands in the answer to EHLO: never inside TLS (RFC 3207 §4.2)."""
        return not tls_active and self.level is not InboundTls.OFF

    def gate(self, *, tls_active: bool) -> Refusal | None:
        """The answer to every command but NOOP, EHLO, STARTTLS and QUIT, or None: go on."""
        if tls_active or self.level is not InboundTls.REQUIRED:
            return None
        return STARTTLS_FIRST

    def sender_gate(self, sender: Address, *, tls_active: bool) -> Refusal | None:
        """The answer to MAIL from a sender of whom TLS is demanded, or None: go on."""
        if tls_active or self.senders is None or self.senders.find(sender) is None:
            return None
        return Refusal(
            STARTTLS_FIRST.code,
            STARTTLS_FIRST.enhanced,
            STARTTLS_FIRST.text,
            cause=f"TLS is mandatory for senders of {self.senders_name}",
        )
