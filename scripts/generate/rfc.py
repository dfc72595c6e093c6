"""docs/rfc.md: the citations of the source, by RFC and clause.

A citation reads `RFC 5321 §4.4`, in a docstring or a comment. Further clauses may follow (`, §6.3`, ` and §4.5`); they
belong to the RFC before them as long as nothing but a few words stands between.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

TITLES = {
    1035: "Domain names",
    1421: "Privacy-enhanced mail: the PEM form",
    1870: "SMTP extension: message size",
    2034: "SMTP extension: enhanced error codes",
    2045: "MIME: format of bodies",
    2047: "MIME: encoded words in headers",
    2104: "HMAC",
    2136: "Dynamic DNS updates",
    2308: "Negative caching of DNS queries",
    2606: "Reserved top level names",
    2920: "SMTP extension: pipelining",
    3030: "SMTP extension: CHUNKING",
    3207: "SMTP extension: STARTTLS",
    3339: "Dates and times on the Internet",
    3454: "Preparation of internationalised strings (stringprep)",
    3461: "SMTP extension: delivery status notifications",
    3463: "Enhanced mail system status codes",
    3464: "Format of delivery status notifications",
    3834: "Automatic responses to mail",
    3848: "ESMTP transmission types",
    4013: "SASLprep: user names and pass-phrases",
    4034: "DNSSEC: records",
    4035: "DNSSEC: protocol",
    4055: "RSA-PSS and RSA-OAEP keys in certificates",
    4514: "LDAP: distinguished names as text",
    4616: "SASL: PLAIN",
    4954: "SMTP extension: AUTH",
    5246: "TLS 1.2",
    5280: "X.509 certificates and revocation lists",
    5321: "SMTP",
    5322: "Internet message format",
    5737: "IPv4 addresses for documentation",
    5746: "TLS extension: renegotiation indication",
    5758: "Algorithms of certificates: ECDSA with SHA-2",
    5782: "DNS block lists and allow lists",
    5802: "SASL: SCRAM",
    5803: "LDAP: SCRAM secrets",
    5890: "Internationalised domain names",
    5952: "IPv6 addresses as text",
    6052: "IPv6 addressing of translators",
    6066: "TLS extensions (SNI)",
    6068: "The mailto URI scheme",
    6152: "SMTP extension: 8BITMIME",
    6376: "DKIM signatures",
    6531: "SMTP extension: internationalised mail",
    6532: "Internationalised headers",
    6533: "Internationalised delivery status notifications",
    6698: "DNS-Based Authentication of Named Entities: TLSA",
    6840: "Clarifications of DNSSEC",
    6891: "Extension mechanisms for DNS",
    7218: "Acronyms of DANE",
    7292: "PKCS #12",
    7505: "Null MX",
    7515: "JSON Web Signature",
    7517: "JSON Web Key",
    7518: "JSON Web Algorithms",
    7638: "JSON Web Key thumbprint",
    7671: "DANE: Updates and Operational Guidance",
    7672: "DANE for SMTP",
    7677: "SASL: SCRAM-SHA-256",
    7807: "Problem details for HTTP",
    7914: "scrypt",
    8018: "PKCS #5: passwords and keys",
    8259: "JSON",
    8265: "PRECIS: user names and passwords",
    8301: "DKIM: algorithms and key sizes",
    8314: "TLS for mail submission and access",
    8446: "TLS 1.3",
    8460: "TLS reporting",
    8461: "MTA-STS",
    8463: "DKIM: Ed25519",
    8555: "ACME",
    8601: "Words for results of authentication",
    8616: "Mail authentication for internationalized mail",
    8689: "SMTP Require TLS Option",
    8737: "ACME: tls-alpn-01",
    8738: "ACME: IP addresses",
    8945: "TSIG for DNS",
    8996: "TLS 1.0 and 1.1 deprecated",
    9106: "Argon2",
    9110: "HTTP semantics",
    9112: "HTTP/1.1",
    9155: "MD5 and SHA-1 deprecated in TLS 1.2",
    9325: "Recommendations for TLS",
    9525: "Service identity in TLS",
    9579: "PBMAC1 in PKCS #12",
    9773: "ACME: renewal information",
    9879: "PBMAC1 in PKCS #12, second edition",
}

_TOKEN = re.compile(r"RFC (?P<rfc>[0-9]{3,5})|§(?P<clause>[0-9A-Z]+(?:\.[0-9]+)*)")
_BETWEEN = 60  # characters between a clause and the citation that it continues

Citations = dict[int, dict[str, set[str]]]


def citations(text: str) -> Iterator[tuple[int, str]]:
    """Every (RFC, clause) that a text cites; the clause is empty where the RFC as a whole is meant."""
    flat = re.sub(r"\s*\n\s*(#\s*)?", " ", text)
    rfc, end, named = 0, 0, False
    for found in _TOKEN.finditer(flat):
        if found["rfc"]:
            if named:
                yield rfc, ""
            rfc, named = int(found["rfc"]), True
        elif rfc and found.start() - end <= _BETWEEN and not re.search(r"[.;:]\s", flat[end : found.start()]):
            yield rfc, found["clause"]
            named = False
        else:
            continue
        end = found.end()
    if named:
        yield rfc, ""


def collect(source: Path) -> Citations:
    """All citations below `source`, with the files that they stand in."""
    found: Citations = defaultdict(lambda: defaultdict(set))
    for path in sorted(source.rglob("*.py")):
        for rfc, clause in citations(path.read_text("utf-8")):
            found[rfc][clause].add(path.relative_to(source / "gatepost").as_posix())
    return found


def page(source: Path) -> str:
    """The page. Raises KeyError for an RFC whose title is not known here."""
    rows = [
        "# RFCs",
        "",
        "Which clause is heeded where: the citations of the source, below `src/gatepost/`. Made by `scripts/docs`.",
        "",
    ]
    for rfc, clauses in sorted(collect(source).items()):
        rows += [f"## RFC {rfc}: {TITLES[rfc]}", "", "| clause | files |", "| --- | --- |"]
        for clause in sorted(clauses, key=_order):
            files = ", ".join(f"`{name}`" for name in sorted(clauses[clause]))
            rows.append(f"| {f'§{clause}' if clause else 'as a whole'} | {files} |")
        rows.append("")
    return "\n".join(rows)


def _order(clause: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (0, part) for part in clause.split(".") if part]
