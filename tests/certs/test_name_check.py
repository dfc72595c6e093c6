"""The name check (R10): which of the three names differs, for every way in which they can."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from gatepost.certs.mx_lookup import Known, MxDomain, MxHost
from gatepost.certs.name_check import ListenerNames, NameCheck, Verdict, accepted_domains, check_names
from gatepost.config.load import load_plain
from gatepost.pki.names import PresentedNames

ADDRESS = "192.0.2.1"
MX = "mx.example.net"


def document(**changes: Any) -> Any:
    listener = {
        "name": "In",
        "interface": "Data 1",
        "port": 25,
        "certificate": "gw",
        "recipient_access": [{"recipient": "example.net", "action": "accept"}],
        **changes.pop("listener", {}),
    }
    interface = {"name": "Data 1", "address": ADDRESS, "hostname": MX, **changes.pop("interface", {})}
    plain = {
        "system": {"hostname": "gw.example.net"},
        "interfaces": [interface],
        "listeners": [listener],
        "destination_controls": {"global": {"certificate": "gw"}},
        **changes,
    }
    return load_plain(plain)


def host(name: str = MX, *addresses: str, known: Known = Known.FOUND) -> MxHost:
    return MxHost(name, 10, tuple(ipaddress.ip_address(a) for a in (addresses or (ADDRESS,))), known)


def mx(*hosts: MxHost, domain: str = "example.net", known: Known = Known.FOUND) -> dict[str, MxDomain]:
    return {domain: MxDomain(domain, known, hosts)}


def names(*dns: str) -> list[PresentedNames]:
    return [PresentedNames(dns)]


def check(doc: Any, looked: dict[str, MxDomain], **profiles: list[PresentedNames]) -> NameCheck:
    return check_names(doc, {"gw": names(MX), **profiles}, looked)


def only(found: NameCheck) -> ListenerNames:
    (listener,) = found.listeners
    return listener


def test_three_names_that_are_one() -> None:
    one = only(check(document(), mx(host())))
    assert (one.verdict, one.differs, one.notes) == (Verdict.SAME, (), ())
    assert one.here == (MX,)
    assert not one.by_name


@pytest.mark.parametrize("presented", [("*.example.net",), ("other.example.net", MX), ("MX.Example.NET",)])
def test_a_wildcard_a_further_name_and_case_are_the_same(presented: tuple[str, ...]) -> None:
    assert only(check(document(), mx(host()), gw=names(*presented))).verdict is Verdict.SAME


def test_a_certificate_of_another_name() -> None:
    one = only(check(document(), mx(host()), gw=names("old.example.net")))
    assert (one.verdict, one.differs) == (Verdict.DIFFERS, ("certificate",))
    (found,) = one.notes
    assert found.code == "name-mismatch"
    assert found.severity == "warning"
    assert found.text == (
        "the certificate gw of listener In is not valid for mx.example.net, an MX host that leads here"
    )
    assert "mx.example.net" in found.repair


def test_an_mx_host_that_the_certificate_has_and_the_interface_has_not() -> None:
    one = only(check(document(interface={"hostname": "data1.example.net"}), mx(host())))
    assert (one.verdict, one.differs) == (Verdict.DIFFERS, ("interface",))
    assert any("give the interface the host name mx.example.net" in found.repair for found in one.notes)


def test_an_mx_record_of_another_name_than_certificate_and_interface() -> None:
    one = only(check(document(), mx(host("mail.example.net"))))
    assert (one.verdict, one.differs) == (Verdict.DIFFERS, ("mx",))
    assert [found.code for found in one.notes] == ["name-mismatch"] * 2
    assert any("mail.example.net" in found.text and "not valid" in found.text for found in one.notes)


def test_three_different_names() -> None:
    one = only(check(document(), mx(host("mail.example.net")), gw=names("old.example.net")))
    assert one.differs == ("mx", "certificate", "interface")


def test_an_mx_record_that_leads_elsewhere() -> None:
    one = only(check(document(), mx(host("mail.example.net", "198.51.100.7"))))
    assert (one.verdict, one.differs) == (Verdict.DIFFERS, ("mx",))
    assert "behind address translation" in one.notes[0].repair


def test_behind_address_translation_the_name_decides() -> None:
    one = only(check(document(interface={"address": "10.0.0.5"}), mx(host(MX, "203.0.113.9"))))
    assert (one.verdict, one.here, one.by_name) == (Verdict.SAME, (MX,), True)


@pytest.mark.parametrize("known", [Known.NO_ANSWER, Known.NOT_LOOKED_UP])
def test_what_is_not_known_is_never_called_different(known: Known) -> None:
    one = only(check(document(), mx(known=known)))
    assert (one.verdict, one.differs, one.notes) == (Verdict.UNKNOWN, (), ())
    wrong = only(check(document(), mx(known=known), gw=names("old.example.net")))
    assert (wrong.verdict, wrong.differs) == (Verdict.DIFFERS, ("certificate",))
    assert "the host name of interface Data 1" in wrong.notes[0].text


def test_a_host_whose_address_is_not_known_leaves_it_open() -> None:
    silent = MxHost("mail.example.net", 10, (), Known.NO_ANSWER)
    assert only(check(document(), mx(silent))).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("known", [Known.NONE, Known.NULL])
def test_a_domain_without_mx_leads_nowhere(known: Known) -> None:
    one = only(check(document(), mx(known=known)))
    assert (one.verdict, one.differs) == (Verdict.DIFFERS, ("mx",))


def test_both_of_two_key_types_have_to_have_the_name() -> None:
    both = [PresentedNames((MX,)), PresentedNames(("old.example.net",))]
    one = only(check(document(), mx(host()), gw=both))
    assert one.differs == ("certificate",)
    assert one.certificates[0].names == ("DNS:mx.example.net", "DNS:old.example.net")


def test_a_certificate_for_a_name_counts_for_that_name() -> None:
    sni = [
        {"name": "mail.example.net", "certificate": "second"},
        {"name": "*.example.org", "certificate": "third"},
    ]
    doc = document(listener={"sni": sni})
    looked = mx(host(), host("mail.example.net"))
    one = only(check(doc, looked, second=names("mail.example.net"), third=names("x.example.org")))
    assert one.differs == ("interface",)  # the second MX host is not the name in the greeting
    assert not any("not valid" in found.text for found in one.notes)
    missing = only(check(doc, looked, second=names("else.example.net"), third=names()))
    assert any("the certificate second" in found.text for found in missing.notes)


def test_a_name_that_only_an_sni_certificate_carries_is_warned_about() -> None:
    doc = document(listener={"sni": [{"name": MX, "certificate": "second"}]})
    for looked in (mx(host()), {}):
        one = only(check(doc, looked, gw=names("other.example.net"), second=names(MX)))
        assert one.differs == ()
        (found,) = one.notes
        assert found.severity == "warning"
        assert found.text == (
            "only clients that ask for mx.example.net, the host name of interface Data 1, are shown it: in second, "
            "under sni; the others get gw, which does not name it"
        )
        assert only(check(doc, looked, second=names(MX))).notes == ()


def test_a_certificate_that_is_not_there_is_said() -> None:
    found = check_names(document(), {}, mx(host()))
    assert "cannot be read" in only(found).notes[0].text


def test_a_listener_without_domains_compares_certificate_and_interface() -> None:
    for listener in ({"type": "private"}, {"recipient_access": [{"recipient": "ALL", "action": "accept"}]}):
        doc = document(listener=listener)
        assert accepted_domains(doc) == ()
        assert only(check(doc, {})).verdict is Verdict.SAME
        assert only(check(doc, {}, gw=names("x.example"))).differs == ("certificate",)


def test_the_domains_are_those_that_are_accepted_and_plain() -> None:
    rules = [
        {"recipient": "bücher.example", "action": "accept"},
        {"recipient": "joe@example.org", "action": "accept"},
        {"recipient": "example.com", "action": "reject"},
        {"recipient": ".example.net", "action": "accept"},
        {"recipient": "[192.0.2.1]", "action": "accept"},
        {"recipient": "user@", "action": "accept"},
        {"recipient": "example.org", "action": "accept"},
        {"recipient": "ALL", "action": "accept"},
    ]
    assert accepted_domains(document(listener={"recipient_access": rules})) == (
        "xn--bcher-kva.example",
        "example.org",
    )


def test_an_interface_without_a_host_name_borrows_the_systems_and_says_so() -> None:
    one = only(check(document(interface={"hostname": None}), mx(host())))
    assert (one.host, one.own_host) == ("gw.example.net", False)
    assert one.differs == ("interface",)


def test_the_systems_host_name_plays_no_part() -> None:
    found = check(document(system={"hostname": "anything.example"}), mx(host()))
    assert only(found).verdict is Verdict.SAME
    assert found.system == "anything.example"


def test_one_certificate_chooses_its_listeners_and_delivery() -> None:
    doc = document(destination_controls={"global": {"certificate": "client"}})
    profiles = {"gw": names(MX), "client": names(MX)}
    chosen = check_names(doc, profiles, mx(host()), "gw")
    assert [one.listener for one in chosen.listeners] == ["In"]
    assert chosen.outbound is None
    client = check_names(doc, profiles, {}, "client")
    assert client.listeners == ()
    assert client.outbound is not None
    assert accepted_domains(doc, "client") == ()


def test_delivery_compares_the_client_certificate_with_the_name_in_ehlo() -> None:
    found = check(document(delivery={"interface": "Data 1"}), {})
    assert found.outbound is not None
    assert (found.outbound.verdict, found.outbound.automatic) == (Verdict.SAME, False)
    assert found.outbound.interfaces == (("Data 1", MX),)


def test_with_an_automatic_interface_every_name_may_be_said() -> None:
    interfaces = [
        {"name": "Data 1", "address": ADDRESS, "hostname": MX},
        {"name": "Data 2", "address": "192.0.2.2", "hostname": "out.example.net"},
    ]
    found = check(document(interfaces=interfaces), mx(host()))
    assert found.outbound is not None
    assert found.outbound.verdict is Verdict.DIFFERS
    (note,) = found.outbound.notes
    assert note.code == "name-mismatch"
    assert "out.example.net, the host name of interface Data 2" in note.text


def test_hostile_names_of_a_certificate_match_nothing_and_are_escaped() -> None:
    evil = [PresentedNames((f"{MX}\0.evil.example", "a\r\nb", "<b>"), (), MX)]
    one = only(check(document(), mx(host()), gw=evil))
    assert one.differs == ("certificate",)
    assert all(text.isprintable() for text in one.certificates[0].names)
