"""The configuration as one typed, frozen document.

One model feeds the file, the API, the GUI and the shell: keys, values and their documentation stand in the
fields. `contract/gateway.yaml` is its written form; unknown keys are refused. An absent section means its
defaults, an absent or empty key is not set. References between sections (certificates, policies, lists) are names;
`check` holds them together. Sections of the mail's way in are in `inbound`, of its way out in `outbound`.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from gatepost.config.acme import Acme
from gatepost.config.alerts import Alerts
from gatepost.config.authorities import CertificateAuthorities
from gatepost.config.bounce_verification import BounceVerification
from gatepost.config.call_ahead import CallAhead
from gatepost.config.hosts import DnsServerText
from gatepost.config.inbound import (
    AddressList,
    Interface,
    Listener,
    MailFlowPolicy,
    standard_policies,
)
from gatepost.config.links import Dlp, FileAnalysis, Ldap, WebSecurity
from gatepost.config.outbound import (
    BounceProfile,
    Bounces,
    Delivery,
    DestinationControls,
    SmtpRoute,
)
from gatepost.config.public_web import MtaStsPolicy, PublicWeb
from gatepost.config.records import Records
from gatepost.config.reputation import Reputation
from gatepost.config.section import Section
from gatepost.config.smtp_auth import SmtpAuth
from gatepost.config.tls_reports import TlsReports
from gatepost.config.tls_reports_received import ReceivedTlsReports
from gatepost.config.tlsa import Tlsa
from gatepost.config.values import Ciphers, Count, Flag, Groups, HostText, Name, Size, Text

DEFAULT_PROFILE = "Default"


class System(Section):
    """The machine as a whole."""

    hostname: HostText = Field(
        default="localhost",
        description="The system's own name, for reports and Received; plays no part in TLS verification.",
    )


class DnsProbe(Section):
    """Names by which a resolver shows that it validates DNSSEC."""

    signed: Text = Field(default=".", description="A name with a SOA record that is signed up to the root.")
    bogus: Text = Field(
        default="dnssec-failed.org",
        description="A name with an address whose signature is known to be broken.",
    )


class Dns(Section):
    """How names are looked up."""

    servers: tuple[DnsServerText, ...] = Field(
        default=(), description="ADDR, ADDR:PORT or [V6]:PORT; empty: the system's.", examples=[["192.0.2.1"]]
    )
    validate_dnssec: Flag = Field(
        default=True, description="Believe a resolver on this machine about DNSSEC once it passed the probe."
    )
    probe: DnsProbe = Field(default=DnsProbe(), description="How a resolver is tried before it is believed.")
    reverse: Flag = Field(default=True, description="Look up the names of connecting addresses.")
    allow_private_mx: Flag = Field(
        default=False, description="Deliver to private addresses that a recipient domain's DNS names."
    )


class Protocol(StrEnum):
    """TLS versions in the words of the mail log."""

    TLS10 = "TLSv1"
    TLS11 = "TLSv1.1"
    TLS12 = "TLSv1.2"
    TLS13 = "TLSv1.3"


class TlsScope(Section):
    """TLS versions, ciphers and groups of one use."""

    minimum: Protocol = Field(default=Protocol.TLS12, description="Oldest version that is spoken.")
    ciphers: Ciphers = Field(default="default", description="default, or a cipher list in OpenSSL's form.")
    groups: Groups = Field(
        default="default",
        description="Groups of the key exchange: default, or a list in OpenSSL's form (X25519MLKEM768:X25519:secp256r1).",
    )


class TlsSettings(Section):
    """TLS versions, ciphers and groups (the shell's `sslconfig`)."""

    inbound: TlsScope = Field(default=TlsScope(), description="Listeners.")
    outbound: TlsScope = Field(default=TlsScope(), description="Delivery.")
    web: TlsScope = Field(default=TlsScope(), description="GUI, API and the public port.")


class LogType(StrEnum):
    MAIL = "mail"


class LogLevel(StrEnum):
    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"
    DEBUG = "debug"
    TRACE = "trace"


class LogTime(StrEnum):
    UTC = "utc"
    LOCAL = "local"


class LogSubscription(Section):
    """One log that is written."""

    name: Name = Field(description="Name of the log and of its file.", examples=["mail_logs"])
    type: LogType = Field(default=LogType.MAIL, description="What is logged.")
    level: LogLevel = Field(default=LogLevel.INFO, description="Least important level that is written.")
    rotate: Size = Field(default=100 * 1024**2, description="Size at which a new file is begun.")
    keep: Count = Field(default=10, description="Rotated files that are kept.")
    time: LogTime = Field(default=LogTime.UTC, description="Time zone of the lines.")


class Document(Section):
    """The whole configuration."""

    system: System = Field(default=System(), description="The machine as a whole.")
    interfaces: tuple[Interface, ...] = Field(default=(), description="Names, addresses and host names.")
    listeners: tuple[Listener, ...] = Field(default=(), description="SMTP services.")
    mail_flow_policies: tuple[MailFlowPolicy, ...] = Field(
        default_factory=standard_policies,
        description="Named policies; absent: ACCEPTED, THROTTLED, TRUSTED, BLOCKED, RELAYED.",
    )
    smtp_auth: SmtpAuth = Field(default=SmtpAuth(), description="How clients may say who they are.")
    address_lists: tuple[AddressList, ...] = Field(default=(), description="Named lists of addresses.")
    destination_controls: DestinationControls = Field(
        default=DestinationControls(), description="The outgoing table, by recipient domain."
    )
    smtp_routes: tuple[SmtpRoute, ...] = Field(
        default=(), description="Next hops that replace the MX of a domain."
    )
    delivery: Delivery = Field(default=Delivery(), description="How outgoing mail leaves.")
    bounce_profiles: tuple[BounceProfile, ...] = Field(
        default=(),
        description="Retry schedules; the profile Default exists with its default values unless it is given.",
    )
    bounces: Bounces = Field(default=Bounces(), description="Reports to senders.")
    call_ahead: CallAhead = Field(
        default=CallAhead(),
        description="How the routed host is asked about a recipient before it is accepted.",
    )
    bounce_verification: BounceVerification = Field(
        default=BounceVerification(),
        description="Tags by which reports of our own mail are told from those of forged mail.",
    )
    reputation: Reputation = Field(
        default=Reputation(), description="Scores of senders for the entries sbrs[...] of the HAT."
    )
    dns: Dns = Field(default=Dns(), description="How names are looked up.")
    certificate_authorities: CertificateAuthorities = Field(
        default=CertificateAuthorities(), description="Which authorities verify peers."
    )
    tls_settings: TlsSettings = Field(default=TlsSettings(), description="TLS versions and ciphers.")
    acme: Acme = Field(default=Acme(), description="Certificates that are issued and renewed by themselves.")
    tlsa: Tlsa = Field(default=Tlsa(), description="TLSA records that are published for this gateway (DANE).")
    public_web: PublicWeb | None = Field(
        default=None, description="The HTTPS port for the world. Absent: nothing listens."
    )
    mta_sts_policies: tuple[MtaStsPolicy, ...] = Field(
        default=(), description="MTA-STS policies of our domains, served at the public port."
    )
    tls_reports: TlsReports = Field(
        default=TlsReports(), description="Daily TLS reports to the domains that ask for them."
    )
    tls_reports_received: ReceivedTlsReports = Field(
        default=ReceivedTlsReports(), description="TLS reports that come in about our domains."
    )
    ldap: Ldap = Field(default=Ldap(), description="Directory servers.")
    web_security: WebSecurity = Field(default=WebSecurity(), description="The service that rates URLs.")
    dlp: Dlp = Field(default=Dlp(), description="The manager of data-loss prevention.")
    file_analysis: FileAnalysis = Field(
        default=FileAnalysis(), description="The service that analyses files."
    )
    alerts: Alerts = Field(default=Alerts(), description="Mail to administrators.")
    records: Records = Field(default=Records(), description="Records of deliveries and sessions.")
    log_subscriptions: tuple[LogSubscription, ...] = Field(
        default=(LogSubscription(name="mail_logs"),), description="Logs that are written."
    )

    def interface(self, name: str) -> Interface | None:
        """The interface of that name."""
        return next((item for item in self.interfaces if item.name == name), None)

    def listener(self, name: str) -> Listener | None:
        """The listener of that name."""
        return next((item for item in self.listeners if item.name == name), None)

    def address_list(self, name: str) -> AddressList | None:
        """The address list of that name."""
        return next((item for item in self.address_lists if item.name == name), None)

    def bounce_profile(self, name: str) -> BounceProfile | None:
        """The profile of that name; `Default` always exists."""
        for item in self.bounce_profiles:
            if item.name == name:
                return item
        return BounceProfile(name=DEFAULT_PROFILE) if name == DEFAULT_PROFILE else None

    @property
    def public_hosts(self) -> dict[str, str]:
        """The hosts that the public port serves (comparable form), each with its certificate profile."""
        found = {item.host: item.certificate for item in self.mta_sts_policies}
        return found | {item.comparable_host: item.certificate for item in self.tls_reports_received.https}

    def interface_hostname(self, name: str) -> str:
        """The host name that an interface greets with: its own, or the system's."""
        found = self.interface(name)
        return (found.hostname if found else None) or self.system.hostname
