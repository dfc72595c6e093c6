"""C33, with C7 to C11, C40 and C45: what goes wrong before, during and after the handshake. The certificates are good."""

from __future__ import annotations

from gatepost.app.zoo.table.expect import (
    BOUNCED,
    CLEAR,
    NONE,
    OFF,
    PREFERRED,
    PV,
    REFUSED,
    Expected,
    broken,
    but,
    expect,
    fine,
    no_tls,
    untrusted,
    without_records,
)
from gatepost.app.zoo.table.shape import Host, Inhabitant, StruckOut, Zone

NOT_OFFERED = "remote host does not offer STARTTLS"
UNEXPECTED = "STARTTLS unexpected response"
GIVEN_UP = "STARTTLS was left out after broken handshakes, as preferred_clear_after says"
UNKNOWN_CIPHER = "unknown cipher returned"
WRONG_CIPHER = "wrong cipher returned"


def _one(
    name: str, cases: str, does: str, wrong: str, expected: Expected, *, shows: str = "good"
) -> Inhabitant:
    hosts = (Host(does, shows),)
    return Inhabitant(name=name, cases=tuple(cases.split()), wrong=wrong, hosts=hosts, expected=expected)


IN_ORDER = (
    Inhabitant(
        name="keeper",
        cases=("C33",),
        wrong="Nothing: a good host in a signed zone. Reports about refused mail come here.",
        zone=Zone.SIGNED,
        expected=fine(Zone.SIGNED),
    ),
    _one("good", "C33", "proper", "Nothing: a good host whose zone is not signed.", fine()),
    _one("tls12", "C33", "tls-1.2", "Nothing: speaks TLS 1.2 and nothing newer.", fine()),
)
WITHOUT_TLS = (
    _one("no-starttls", "C33", "no-starttls", "Does not offer STARTTLS.", no_tls(NOT_OFFERED)),
    _one(
        "crossed-out",
        "C33 C11",
        "crossed-out",
        "Somebody on the way made XXXXXXXA of STARTTLS.",
        no_tls(NOT_OFFERED),
    ),
    _one("starttls-454", "C33 C9", "starttls-454", "Offers STARTTLS and answers it 454.", no_tls(UNEXPECTED)),
    _one("starttls-554", "C33 C9", "starttls-554", "Offers STARTTLS and answers it 554.", no_tls(UNEXPECTED)),
    _one(
        "helo-only",
        "C33 C10",
        "helo-only",
        "Knows HELO and no EHLO.",
        no_tls("remote host does not speak ESMTP"),
    ),
    _one(
        "insists",
        "C33",
        "insists",
        "Takes no mail in clear: 530.",
        but(fine(), (NONE, BOUNCED, "5.7.0 Must issue a STARTTLS command first")),
    ),
)
BROKEN = (
    _one(
        "clear-text", "C33 C9", "clear-text", "Says 220 and goes on in clear.", broken("wrong version number")
    ),
    _one(
        "injected",
        "C33 C7 C8",
        "injects",
        "Capabilities stand behind the 220 in the same segment.",
        broken("bytes behind STARTTLS"),
    ),
    _one("closes", "C33 C9", "closes", "Says 220 and hangs up.", broken("Unexpected EOF")),
    _one("silent", "C33 C9", "silent", "Says 220 and nothing more.", broken("timeout")),
    _one("alert", "C33", "alert", "Ends every handshake with an alert.", broken("handshake failure")),
    _one("tls10", "C33", "tls-1.0", "Speaks TLS 1.0 and nothing newer.", broken("protocol version")),
    _one("tls11", "C33", "tls-1.1", "Speaks TLS 1.1 and nothing newer.", broken("protocol version")),
    _one("export", "C33", "export", "Chooses a 40 bit export cipher.", broken(UNKNOWN_CIPHER), shows="rsa"),
    _one("rc4", "C33", "rc4", "Chooses RC4.", broken(UNKNOWN_CIPHER), shows="rsa"),
    _one("triple-des", "C33", "3des", "Chooses 3DES.", broken(UNKNOWN_CIPHER), shows="rsa"),
    _one("anonymous", "C33", "anonymous", "Chooses a cipher without a certificate.", broken(WRONG_CIPHER)),
    _one("compressed", "C33", "compressed", "Wants TLS compression.", broken("compression"), shows="rsa"),
    _one(
        "dh-512",
        "C33",
        "dh-512",
        "A Diffie-Hellman group of 512 bits.",
        broken("dh key too small"),
        shows="rsa",
    ),
    _one(
        "sha1-signed",
        "C33",
        "sha1-signed",
        "Signs the key exchange with SHA-1, which nobody offered.",
        broken("wrong signature type"),
        shows="rsa",
    ),
    _one("oversized", "C33", "oversized", "A record longer than TLS allows.", broken("data length too long")),
    _one(
        "many-names",
        "C33",
        "proper",
        "A certificate that makes the handshake longer than 64 KiB.",
        broken("handshake of more than 65536 octets"),
        shows="many-names",
    ),
)
WEAK = (
    _one(
        "dh-1024",
        "C33",
        "dh-1024",
        "A Diffie-Hellman group of 1,024 bits, the smallest that is taken.",
        fine(),
        shows="rsa",
    ),
    _one(
        "rsa-1024",
        "C33",
        "proper",
        "An RSA key of 1,024 bits.",
        untrusted("RSA key of 1024 bits is too short"),
        shows="rsa-1024",
    ),
)
AFTERWARDS = (
    _one(
        "no-close-notify",
        "C33",
        "no-close-notify",
        "Drops the connection from under TLS behind its last answer.",
        fine(),
    ),
    _one(
        "busy-inside",
        "C33",
        "busy-inside",
        "Answers EHLO inside TLS with 421.",
        expect((NONE, CLEAR, OFF), without_records(Zone.DARK), ("rest", REFUSED, "421")),
    ),
)
CLIENT_CERTIFICATES = (
    _one(
        "asks-certificate",
        "C40",
        "asks-certificate",
        "Asks for a client certificate, and needs none.",
        fine(),
    ),
    _one(
        "breaks-certificate",
        "C40",
        "breaks-certificate",
        "Asks for a client certificate, and ends the handshake when one comes.",
        fine(),
    ),
    _one(
        "hangs-up-at-certificate",
        "C40",
        "hangs-up-at-certificate",
        "Asks for a client certificate, and hangs up without a word when one comes.",
        fine(),
    ),
    _one(
        "only-with-sni", "C34", "only-with-sni", "Has no certificate for who does not name it (SNI).", fine()
    ),
)


def _two(name: str, cases: str, wrong: str, hosts: tuple[Host, Host], expected: Expected) -> Inhabitant:
    return Inhabitant(name=name, cases=tuple(cases.split()), wrong=wrong, hosts=hosts, expected=expected)


MEMORY = (
    _two(
        "second-good",
        "C45",
        "The first host's handshake breaks; the second is good.",
        (Host("alert"), Host()),
        but(fine(), ("dane-mandatory", REFUSED, "are not signed")),
    ),
    _two(
        "second-clear",
        "C45",
        "The first host's handshake breaks; the second offers no STARTTLS.",
        (Host("alert"), Host("no-starttls")),
        but(broken("handshake failure"), ("dane-mandatory", REFUSED, "are not signed")),
    ),
    Inhabitant(
        name="given-up",
        cases=("C45",),
        wrong="The handshake breaks, and an entry allows clear text after one such attempt; tried twice.",
        hosts=(Host("alert"),),
        attempts=2,
        clear_after=1,
        expected=but(
            broken("handshake failure"),
            (f"{PREFERRED} {PV} sts dane dane-sts", CLEAR, GIVEN_UP),
        ),
    ),
    Inhabitant(
        name="given-up-dane",
        cases=("C45", "C35"),
        wrong="The same with TLSA records: what was given up for others binds here.",
        hosts=(Host("alert"),),
        zone=Zone.SIGNED,
        tlsa=("3 1 1 leaf",),
        attempts=2,
        clear_after=1,
        expected=but(
            broken("handshake failure"),
            (f"{PREFERRED} {PV} sts", CLEAR, GIVEN_UP),
            ("dane dane-mandatory dane-sts", REFUSED, "handshake failure"),
        ),
    ),
)

INHABITANTS = (
    *IN_ORDER,
    *WITHOUT_TLS,
    *BROKEN,
    *WEAK,
    *AFTERWARDS,
    *CLIENT_CERTIFICATES,
    *MEMORY,
)
STRUCK_OUT = (
    StruckOut(
        "C33",
        "a session that uses export ciphers, RC4, 3DES, an anonymous cipher or compression",
        "no TLS library of today speaks them; their ServerHello is written by hand, and the client ends it there",
    ),
    StruckOut(
        "C45",
        "the note in a cluster, and its end",
        "there is no note: each message carries its own count of attempts (tests/way/test_tls_levels.py)",
    ),
)
