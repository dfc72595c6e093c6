"""The configuration of what comes in: interfaces, listeners, HAT, RAT, mail flow policies, address lists.

R13, R15, R19 to R21; names and meanings are those of contract/gateway.yaml.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from gatepost.config.bounce_verification import UntaggedBounces
from gatepost.config.clients import ClientIdentity
from gatepost.config.hosts import RouteHostText
from gatepost.config.recipients import MailboxEntryText
from gatepost.config.section import Section
from gatepost.config.senders import SenderText
from gatepost.config.smtp_auth import AuthLevel
from gatepost.config.sni import SniText
from gatepost.config.values import (
    UNLIMITED,
    AddressText,
    Count,
    Duration,
    DurationOrUnlimited,
    Fault,
    Flag,
    HostText,
    Limit,
    Name,
    Port,
    ReplyText,
    Size,
    Text,
)
from gatepost.core.tls import InboundTls

MEBIBYTE = 1024 * 1024


class HttpsService(Section):
    """The GUI and API on an interface (R15)."""

    port: Port = Field(description="TCP port of the service.", examples=[8443])
    certificate: Name = Field(default="Demo", description="Certificate profile that the service presents.")


class SshService(Section):
    """The command shell on an interface."""

    port: Port = Field(description="TCP port of the service.", examples=[2222])


class Interface(Section):
    """A name, an IP address and a host name."""

    name: Name = Field(description="Name of the interface, as the log shows it.", examples=["Data 1"])
    address: AddressText = Field(description="IP address that is bound.", examples=["127.0.0.1"])
    hostname: HostText | None = Field(
        default=None,
        description="Name for greeting and EHLO; MX records and certificates must carry it (R10). Absent: the system's.",
    )
    https: HttpsService | None = Field(default=None, description="GUI and API on this interface.")
    ssh: SshService | None = Field(default=None, description="The command shell on this interface.")


class ListenerType(StrEnum):
    PUBLIC = "public"
    PRIVATE = "private"


class ListenerTls(StrEnum):
    STARTTLS = "starttls"
    IMPLICIT = "implicit"


class PolicyAction(StrEnum):
    """What happens to a connection of a sender group (asyncos 2.3)."""

    ACCEPT = "accept"
    RELAY = "relay"
    REJECT = "reject"
    TCPREFUSE = "tcprefuse"
    CONTINUE = "continue"


class RecipientAction(StrEnum):
    ACCEPT = "accept"
    REJECT = "reject"


class SenderGroup(Section):
    """One row of the HAT. The group `ALL` stands for every sender and takes no `senders`."""

    group: Name = Field(description="Name of the group, as the log shows it.", examples=["ALL"])
    senders: tuple[SenderText, ...] = Field(
        default=(),
        description="Addresses, networks, ranges, host names, .domains, score ranges, ALL.",
        examples=[["192.0.2.1"]],
    )
    policy: Name | None = Field(
        default=None, description="Mail flow policy of the group. Absent: the listener's default_policy."
    )
    comment: Text | None = Field(default=None, description="A remark.")


class RecipientRule(Section):
    """One row of the RAT; the first that matches decides, and without a match the recipient is refused."""

    recipient: MailboxEntryText = Field(
        description="domain, .domain, user@domain, user@, an address literal, or ALL.", examples=["ALL"]
    )
    action: RecipientAction = Field(description="accept or reject.", examples=["reject"])
    response: ReplyText | None = Field(default=None, description="Text of the answer to a refused recipient.")
    call_ahead: Flag = Field(
        default=False, description="Ask the host that would get the mail before the recipient is accepted."
    )
    call_ahead_host: RouteHostText | None = Field(
        default=None, description="The host that is asked, as in a route; absent: where the mail goes."
    )


TLS_KEYS = (
    "tls",
    "verify_client_certificate",
    "client_identities",
    "accept_server_only_certificates",
    "tls_mandatory_for",
)
"""What a mail flow policy says of TLS: the keys that `tls_monitor` is about."""


class PolicyParameters(Section):
    """What a mail flow policy says; a listener may say any of it again (R21)."""

    name: Name = Field(description="Name of the policy.", examples=["ACCEPTED"])
    action: PolicyAction | None = Field(default=None, description="As in the policy.")
    tls: InboundTls | None = Field(
        default=None,
        description="off: STARTTLS is not offered; preferred: offered; required: nothing passes without it (R19).",
    )
    verify_client_certificate: Flag | None = Field(
        default=None,
        description="Ask the client for a certificate and refuse mail under one that is not valid; with tls: required "
        "also without one.",
    )
    client_identities: tuple[ClientIdentity, ...] | None = Field(
        default=None,
        description="Clients whose certificates are accepted (R22). Absent or empty: every valid one of a trusted authority.",
    )
    accept_server_only_certificates: Flag | None = Field(
        default=None,
        description="Accept a certificate that is for servers only, as public authorities issue them now. Default false.",
    )
    tls_mandatory_for: Name | None = Field(
        default=None, description="Address list of envelope senders whose mail is taken over TLS only."
    )
    tls_monitor: Flag | None = Field(
        default=None,
        description="Evaluate, log and count what is said of TLS here without enforcing it. In a policy: preferred holds; in a "
        "listener's entry: the policy holds.",
    )
    smtp_auth: AuthLevel | None = Field(
        default=None,
        description="off: AUTH is not offered; preferred: offered inside TLS, and who proves who he is relays; required: no "
        "mail without it. Default off.",
    )
    untagged_bounces: UntaggedBounces | None = Field(
        default=None,
        description="Reports to bounce_verification.domains without a good tag: reject (default), mark in the header, accept.",
    )
    max_messages_per_connection: Limit | None = Field(
        default=None, description="Messages of one connection; default 1000."
    )
    max_recipients_per_message: Limit | None = Field(
        default=None, description="Recipients of one message; default 1000."
    )
    max_message_size: Size | None = Field(default=None, description="Size of one message; default 100MB.")
    max_connections_per_ip: Limit | None = Field(
        default=None, description="Connections of one address (IPv6: one /64) at a time; default 1000."
    )
    max_recipients_per_hour: Limit | None = Field(
        default=None, description="Recipients an hour from one address (IPv6: one /64); default unlimited."
    )
    banner: ReplyText | None = Field(
        default=None, description="Text of the greeting behind the host name (220), or of the refusal (554)."
    )
    comment: Text | None = Field(default=None, description="A remark.")


class MailFlowPolicy(PolicyParameters):
    """A named mail flow policy."""

    action: PolicyAction = Field(
        description="accept: the RAT decides; relay: any recipient; reject: 554; tcprefuse: close at once; continue: "
        "note the match and read on.",
        examples=["accept"],
    )


class PolicyOverride(PolicyParameters):
    """What one listener changes in the policy of that name: the keys that are given replace the policy's."""


def _named_list(value: Any) -> Any:
    """`{ACCEPTED: {tls: required}}` as the list `[{name: ACCEPTED, tls: required}]`."""
    if not isinstance(value, dict):
        return value
    for name, body in value.items():
        if isinstance(body, dict) and body.get("name", name) != name:
            raise Fault("names a policy twice", f"leave out the key name under {name}")
    return [{**body, "name": name} if isinstance(body, dict) else body for name, body in value.items()]


class ListenerTimeouts(Section):
    """How long a listener waits for its peer (RFC 5321 §4.5.3.2.7 wants at least 5 minutes between commands)."""

    command: Duration = Field(default=300, description="Wait for the next command.")
    data: Duration = Field(default=300, description="Wait for the next piece of a message.")
    handshake: Duration = Field(default=30, description="A TLS handshake as a whole.")
    session: DurationOrUnlimited = Field(default=3_600, description="A connection as a whole.")


class SniCertificate(Section):
    """Another certificate of a listener, for clients that ask for a name (RFC 6066 §3)."""

    name: SniText = Field(
        description="Host name that clients ask for, or *.domain for one label before it.",
        examples=["mx2.example.net"],
    )
    certificate: Name = Field(description="Certificate profile that they are shown.", examples=["Demo"])


class Listener(Section):
    """An SMTP service on an interface."""

    name: Name = Field(description="Name of the listener.", examples=["Listener"])
    type: ListenerType = Field(
        default=ListenerType.PUBLIC,
        description="public: the recipient table decides; private: relays for its senders.",
    )
    interface: Name = Field(description="Interface whose address is bound.", examples=["Data 1"])
    port: Port = Field(description="TCP port.", examples=[25])
    tls: ListenerTls = Field(
        default=ListenerTls.STARTTLS, description="starttls, or implicit: TLS from the first byte (RFC 8314)."
    )
    certificate: Name = Field(
        default="Demo",
        description="Certificate profile that the listener presents (R13): without SNI, and for a name not under sni.",
    )
    sni: tuple[SniCertificate, ...] = Field(
        default=(), description="Other certificates, by the name that a client asks for."
    )
    host_access: tuple[SenderGroup, ...] = Field(default=(), description="The HAT: first match wins.")
    recipient_access: tuple[RecipientRule, ...] = Field(
        default=(), description="The RAT: first match wins, else refused."
    )
    default_policy: Name | None = Field(
        default=None, description="Policy of senders that no group names, and of groups without a policy."
    )
    policies: Annotated[tuple[PolicyOverride, ...], BeforeValidator(_named_list)] = Field(
        default=(), description="What this listener changes in mail flow policies: a map by name, or a list."
    )
    delay_rejection: Flag = Field(
        default=False,
        description="Greet senders that the HAT rejects and refuse each recipient, so that the log shows whom they wanted.",
    )
    max_connections: Limit = Field(default=10_000, description="Connections of the whole listener at a time.")
    timeouts: ListenerTimeouts = Field(default=ListenerTimeouts(), description="How long the listener waits.")
    banner: ReplyText = Field(default="ESMTP", description="Text of the greeting behind the host name.")
    requiretls: Flag = Field(
        default=True,
        description="Take messages that require TLS on their whole way (REQUIRETLS, RFC 8689), offered inside TLS.",
    )
    tls_required_no: Flag | None = Field(
        default=None,
        description="Heed the header field TLS-Required: No (RFC 8689). Absent: on private listeners only.",
    )
    max_hops: Count = Field(
        default=100,
        description="A message with more Received lines is looping (RFC 5321 §6.3: at least 100).",
    )

    @property
    def heeds_tls_required_no(self) -> bool:
        """Who may say that what the recipient published about TLS does not count: our own senders, unless it is written otherwise."""
        return self.type is ListenerType.PRIVATE if self.tls_required_no is None else self.tls_required_no


class AddressList(Section):
    """A named list of addresses and domains."""

    name: Name = Field(description="Name of the list.", examples=["addresses"])
    addresses: tuple[MailboxEntryText, ...] = Field(
        default=(),
        description="domain, .domain, user@domain, user@, an address literal, or ALL.",
        examples=[["example.net"]],
    )


def standard_policies() -> tuple[MailFlowPolicy, ...]:
    """The policies that stand for an absent section `mail_flow_policies` (asyncos 2.4)."""
    return (
        MailFlowPolicy(name="ACCEPTED", action=PolicyAction.ACCEPT, tls=InboundTls.PREFERRED),
        MailFlowPolicy(
            name="THROTTLED",
            action=PolicyAction.ACCEPT,
            tls=InboundTls.PREFERRED,
            max_messages_per_connection=10,
            max_recipients_per_message=20,
            max_message_size=MEBIBYTE,
            max_connections_per_ip=10,
            max_recipients_per_hour=20,
        ),
        MailFlowPolicy(
            name="TRUSTED",
            action=PolicyAction.ACCEPT,
            tls=InboundTls.PREFERRED,
            max_recipients_per_hour=UNLIMITED,
        ),
        MailFlowPolicy(name="BLOCKED", action=PolicyAction.REJECT),
        MailFlowPolicy(name="RELAYED", action=PolicyAction.RELAY, tls=InboundTls.PREFERRED),
    )
