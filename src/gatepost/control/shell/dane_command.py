"""`gatepost cert dane`: the TLSA records of a certificate as lines for the zone, what its name servers show, and what to do next.

The lines begin in the first column and are in the form of a zone file (RFC 1035 §5.1), so that they can be copied as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from gatepost.control.shell.answers import say_change
from gatepost.control.shell.cert_options import BesideOption, NameArgument, field
from gatepost.control.shell.client import Client
from gatepost.control.shell.options import CommentOption, HomeOption, JsonOption, PendingOption
from gatepost.control.shell.screen import paragraph, plural, safe, say, say_json
from gatepost.core.errors import Exit, OperatorError

_ROLES = {
    "current": "{}, the key that is served",
    "next": "{}, the next key",
    "other": "{}, which is served here too",
    "issuer": "the issuer of {}",
}
_SIGNED = {
    "signed": "signed with DNSSEC",
    "not signed": "NOT signed with DNSSEC",
    "broken": "DNSSEC is BROKEN",
    "not known": "whether it is signed is not known",
}
_HEX = 20  # digits of a record that tell it from others


def dane(
    name: NameArgument,
    make_next: Annotated[
        bool,
        typer.Option("--make-next", help="Make the next key ahead, so that its record can be published."),
    ] = False,
    key: Annotated[
        str, field("--key", "Its kind: rsa2048, rsa3072, rsa4096, p256, p384 or ed25519.", "KIND")
    ] = "",
    beside: BesideOption = False,
    comment: CommentOption = "",
    pending: PendingOption = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Show the TLSA records to publish for a certificate, and whether its zone has them (DANE).

    Ends with 1 when senders with DANE would refuse what is served now.
    """
    if (key or beside) and not make_next:
        raise OperatorError("--key and --beside are for --make-next", "give it too", code=Exit.USAGE)
    client = Client(home)
    made = None
    if make_next:
        made = client.call(
            "cert.dane.next", name=name, key=key, beside=beside, comment=comment, pending=pending
        )
    found = client.call("cert.dane", name=name)
    if as_json:
        say_json(
            {
                **found,
                "made": {key: made[key] for key in ("version", "pending", "unchanged", "notes")}
                if made
                else None,
            }
        )
    else:
        if made is not None:
            _say_made(client, name, made)
        _say_places(name, found)
    if not found["ok"]:
        raise typer.Exit(Exit.REFUSED)


def _say_made(client: Client, name: str, made: Mapping[str, Any]) -> None:
    if made["unchanged"]:
        paragraph("", f"The next key of {name} is there already.")
    else:
        paragraph(
            "",
            f"The next key of {name} is made, and waits; what is served stays. `gatepost cert csr {name}` prints the request "
            "for the authority.",
        )
        for text in made["notes"]:
            paragraph("  note: ", text)
        say_change(client, made)
    say()


def _say_places(name: str, found: Mapping[str, Any]) -> None:
    if not found["places"]:
        paragraph(
            "",
            f"{name} is shown at no host that senders look up TLSA records for: those are the host names of public "
            "listeners at port 25. Another host or port is named under tlsa.services.",
        )
    for place in found["places"]:
        _say_place(place)
    if len(found["places"]) > 1 and found["activation"] is not None:
        _say_activation(found["activation"])


def _say_place(place: Mapping[str, Any]) -> None:
    paragraph("", f"At {place['owner']} ({_SIGNED[place['signed']]})")
    if place["stands_at"] not in ("", place["owner"]):
        paragraph("", f"It is an alias: the records stand at {place['stands_at']}.")
    paragraph("", place["serving"])
    say()
    say("Records to publish:")
    servers = [row for row in place["servers"] if not row["error"]]
    for line in place["publish"]:
        _say_line(line, len(servers))
    if place["alternative"]:
        say()
        paragraph(
            "",
            "Or, in place of the lines of next keys, once and for as long as this issuer signs (senders then check name and "
            "dates as well):",
        )
        for line in place["alternative"]:
            _say_line(line, len(servers))
    _say_servers(place)
    if place["advice"]:
        say()
        say("To do:")
        for text in place["advice"]:
            paragraph("- ", text)
    say()


def _say_line(line: Mapping[str, Any], servers: int) -> None:
    """One record: a comment, the head, and the digits below, since they do not fit behind it."""
    count = len(line["on"])
    where = "not published"
    if count:
        where = "on every server that answers" if count == servers else f"on {count} of {servers} servers"
    paragraph("; ", f"{_ROLES[line['role']].format(line['certificate'])}: {where}")
    *numbers, digits = line["data"].split(" ")
    say(safe(f"{line['owner']} {line['ttl']} IN TLSA {' '.join(numbers)} ("))
    say(f"        {digits} )")


def _say_servers(place: Mapping[str, Any]) -> None:
    if not place["servers"]:
        return
    texts = {row["data"]: row["text"] for row in place["published"]}
    say()
    say("What the name servers show:")
    for shown, names in _alike(place["servers"]):
        paragraph("  ", ", ".join(names) + _head(shown))
        for data in shown["records"]:
            paragraph(f"    {_short(data)}  ", texts.get(data, ""))


def _head(shown: Mapping[str, Any]) -> str:
    if shown["error"]:
        return f": {shown['error']}"
    count = len(shown["records"])
    return f": {plural(count, 'record')}, TTL {shown['ttl']}" if count else ": no TLSA records"


def _alike(servers: Sequence[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], list[str]]]:
    """Servers that say the same, together."""
    found: list[tuple[Mapping[str, Any], list[str]]] = []
    for row in servers:
        name = row["server"] if row["server"] == row["address"] else f"{row['server']} ({row['address']})"
        said = (row["ttl"], sorted(row["records"]), row["error"])
        for known, names in found:
            if (known["ttl"], sorted(known["records"]), known["error"]) == said:
                names.append(name)
                break
        else:
            found.append((row, [name]))
    return found


def _short(data: str) -> str:
    *numbers, digits = data.split(" ")
    return f"{' '.join(numbers)} {digits[:_HEX]}{'…' if len(digits) > _HEX else ''}"


def _say_activation(found: Mapping[str, Any]) -> None:
    head = "The new certificate can be served" if found["possible"] else "The new certificate should wait"
    paragraph("", f"{head}, all places taken together: {found['reason']}.")
