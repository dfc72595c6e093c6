"""`gatepost cert names`: the three names of every listener, one under the other, so that a wrong letter shows (R10)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

from gatepost.control.shell.client import Client
from gatepost.control.shell.options import HomeOption, JsonOption
from gatepost.control.shell.screen import paragraph, safe, say, say_json

MANY = 5  # names of a certificate, hosts of a domain, that are written out
LABEL = 16
_WORDS = {"mx": "the MX record", "certificate": "the certificate", "interface": "the interface's host name"}
_ELSEWHERE = 2  # addresses that are written out

Row = tuple[str, str, str, str]  # mark, label, name, remark


def names(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Only where this certificate is shown.")] = "",
    pending: Annotated[bool, typer.Option("--pending", help="Look at your pending changes.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Look nothing up in the DNS.")] = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Compare MX record, certificate and interface host name, for every listener and for delivery."""
    found = Client(home).call("cert.names", name=name, pending=pending, offline=offline)
    if as_json:
        say_json(found)
    else:
        say_names(found)


def say_names(found: Mapping[str, Any]) -> None:
    """The answer of the operation cert.names, for people."""
    for one in found["listeners"]:
        _say_listener(one)
    if found["outbound"] is not None:
        _say_outbound(found["outbound"])
    system = found["system"]
    paragraph("", f"The system's host name, {system['hostname']}, {system['text']}.")


def _say_listener(one: Mapping[str, Any]) -> None:
    head = f"Listener {one['listener']} ({one['type']}) on {one['interface']}, {one['address']}"
    paragraph("", f"{head}: {_verdict(one)}")
    odd = one["differs"]
    _say_rows(
        [
            *_rows("MX record", _mx_cells(one), odd="mx" in odd),
            *_rows("Certificate", _certificate_cells(one["certificates"]), odd="certificate" in odd),
            *_rows(
                "Interface host", [(one["interface_host"], _interface_remark(one))], odd="interface" in odd
            ),
        ]
    )
    _say_findings(one["findings"])


def _say_outbound(one: Mapping[str, Any]) -> None:
    differs = one["verdict"] == "differs"
    verdict = "the client certificate differs" if differs else "the names are the same"
    verdict = "there is no interface" if not one["interfaces"] else verdict
    how = "any interface" if one["automatic"] else "a fixed interface"
    paragraph("", f"Delivery, by {how}: {verdict}")
    hosts = [(row["host"], row["interface"]) for row in one["interfaces"]]
    _say_rows(
        [
            *_rows("Certificate", _certificate_cells(one["certificates"]), odd=differs),
            *_rows("EHLO says", hosts, odd=False),
        ]
    )
    _say_findings(one["findings"])


def _verdict(one: Mapping[str, Any]) -> str:
    if one["verdict"] == "same":
        return "the names are the same" if one["mx"] else "certificate and host name are the same"
    if one["verdict"] == "unknown":
        return "certificate and host name are the same; the MX record is not known"
    odd = [_WORDS[word] for word in one["differs"]]
    if len(odd) == len(_WORDS):
        return "all three differ"
    return f"{' and '.join(odd)} {'differs' if len(odd) == 1 else 'differ'}"


def _mx_cells(one: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if not one["mx"]:
        yield "-", "takes mail for no domain that is named" if one["type"] == "public" else ""
    for domain in one["mx"]:
        if not domain["hosts"]:
            yield "-", f"{domain['domain']}: {_domain_status(domain)}"
        for host in domain["hosts"][:MANY]:
            rank = "no MX, the domain itself" if host["implicit"] else f"MX {host['preference']}"
            yield host["host"], f"{domain['domain']}, {rank}: {_leads(one, host)}"
        if len(domain["hosts"]) > MANY:
            yield "...", f"{domain['domain']}: {len(domain['hosts']) - MANY} more"


def _domain_status(domain: Mapping[str, Any]) -> str:
    words = {"none": "no such name or record", "takes no mail": "null MX, it takes no mail"}
    status = words.get(domain["status"], domain["status"])
    return f"{status} ({domain['detail']})" if domain["detail"] else status


def _leads(one: Mapping[str, Any], host: Mapping[str, Any]) -> str:
    addresses = ", ".join(host["addresses"][:_ELSEWHERE])
    if host["leads_here"]:
        return f"this name, at {addresses or 'an unknown address'}" if one["by_name_only"] else "leads here"
    if host["status"] == "found":
        return f"elsewhere, {addresses}"
    return "no address" if host["status"] == "none" else str(host["status"])


def _certificate_cells(certificates: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for shown in certificates:
        remark = shown["certificate"] + (f", for SNI {shown['sni']}" if shown["sni"] else "")
        texts = [text.removeprefix("DNS:") for text in shown["names"]]
        if not texts:
            yield "-", f"{remark}: no names"
        for text in texts[:MANY]:
            yield text, remark
            remark = ""
        if len(texts) > MANY:
            yield "...", f"{len(texts) - MANY} more"


def _interface_remark(one: Mapping[str, Any]) -> str:
    borrowed = (
        "; it has none of its own, this is the system's" if one["interface_host_is_the_systems"] else ""
    )
    return f"{one['interface']}{borrowed}"


def _rows(label: str, cells: Iterable[tuple[str, str]], *, odd: bool) -> list[Row]:
    rows = []
    for name, remark in cells:
        rows.append(("!" if odd and label else " ", label, name, remark))
        label = ""
    return rows


def _say_rows(rows: Sequence[Row]) -> None:
    """Names in one column; remarks behind them where there is room, else below."""
    width = min(max((len(row[2]) for row in rows), default=0), 36)
    for mark, label, name, remark in rows:
        head = f"{mark} {label.ljust(LABEL)}"
        name = safe(name)
        if len(name) <= width:
            paragraph(f"{head}{name.ljust(width)}  " if remark else head + name, remark)
            continue
        say(head + name)
        if remark:
            paragraph(" " * (len(head) + 2), remark)


def _say_findings(findings: Sequence[Mapping[str, str]]) -> None:
    for finding in findings:
        paragraph(f"  {finding['severity']}: ", finding["text"])
        for head, text in (("    meaning: ", finding["meaning"]), ("    repair:  ", finding["repair"])):
            if text:
                paragraph(head, text)
    say()
