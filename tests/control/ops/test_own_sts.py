"""sts.show and sts.check: what is to be published, and the world as a sender sees it, with a DNS that answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.control.kit import CONTRACT_LIKE, Bench, b64, pem_of
from tests.fakes.ca import TestAuthority
from tests.fakes.dns_authority import Behaviour, DnsAuthority

from gatepost.core.errors import Exit, OperatorError

POLICY = "{domain: Example.NET, mode: enforce, mx: [mx.example.net], certificate: web}"
AUTHORITY = TestAuthority("Example CA")


@pytest.fixture
def dns() -> Iterator[DnsAuthority]:
    records = {"example.net": {"MX": ["10 mx.example.net."]}, "mx.example.net": {"A": ["127.0.0.1"]}}
    with DnsAuthority(records) as authority:
        yield authority


def document(dns: DnsAuthority, policy: str = POLICY, more: str = "") -> str:
    text = CONTRACT_LIKE.replace("certificate: Demo", "certificate: gw")
    text += f"dns: {{servers: ['{dns.address}:{dns.port}']}}\nmta_sts_policies:\n  - {policy}\n"
    return text + "certificate_authorities: {system: false, custom: true}\n" + more


def prepared(bench: Bench, text: str, *names: str) -> None:
    for profile in ("web", "gw"):
        issued = AUTHORITY.issue(list(names) or ["mta-sts.example.net", "mx.example.net"])
        bench.call("cert.import", name=profile, file=b64(pem_of(issued)))
    bench.call("ca.import", file=b64(AUTHORITY.root_pem))
    bench.apply(text)


def codes(bench: Bench) -> dict[str, str]:
    (found,) = bench.call("sts.check")
    return {one["code"]: one["severity"] for one in found["findings"]}


def test_the_policy_and_its_records_are_shown(bench: Bench, dns: DnsAuthority) -> None:
    prepared(bench, document(dns))
    (one,) = bench.call("sts.show", domain="EXAMPLE.net.")
    assert one["policy"] == "version: STSv1\r\nmode: enforce\r\nmx: mx.example.net\r\nmax_age: 604800\r\n"
    assert one["url"] == "https://mta-sts.example.net/.well-known/mta-sts.txt"
    assert not one["served"]
    records = {record["purpose"]: record for record in one["records"]}
    assert records["policy"] == {
        "purpose": "policy",
        "name": "_mta-sts.example.net",
        "type": "TXT",
        "value": f"v=STSv1; id={one['id']};",
    }
    assert records["policy-host"]["name"] == "mta-sts.example.net"
    assert records["reports"]["value"].startswith("v=TLSRPTv1; rua=mailto:")


def test_the_id_changes_with_the_policy_and_with_nothing_else(bench: Bench, dns: DnsAuthority) -> None:
    def shown() -> str:
        return str(bench.call("sts.show")[0]["id"])

    prepared(bench, document(dns))
    first = shown()
    bench.apply(document(dns, more="public_web: {address: 127.0.0.1, port: 8443}\n"))
    assert shown() == first
    bench.apply(document(dns, POLICY.replace("enforce", "testing")))
    assert shown() != first
    bench.apply(document(dns))
    assert shown() == first


def test_a_domain_without_a_policy_is_refused(bench: Bench, dns: DnsAuthority) -> None:
    prepared(bench, document(dns))
    with pytest.raises(OperatorError, match=r"no MTA-STS policy of other\.example"):
        bench.call("sts.show", domain="other.example")
    with pytest.raises(OperatorError) as refusal:
        bench.call("sts.check", domain="not a name")
    assert refusal.value.code is Exit.USAGE


def test_what_is_missing_in_the_world_is_found(bench: Bench, dns: DnsAuthority) -> None:
    prepared(bench, document(dns))
    assert codes(bench) == {
        "file-unreachable": "warning",
        "record-missing": "warning",
        "no-reports": "info",
        "private-authority": "info",
    }
    (one,) = bench.call("sts.check")
    assert one["mx"] == [{"host": "mx.example.net", "listeners": ["IncomingMail"], "certificates": ["gw"]}]
    assert (one["status"], one["fetched"]) == ("warning", False)


def test_a_certificate_without_the_mx_name_is_found(bench: Bench, dns: DnsAuthority) -> None:
    prepared(bench, document(dns), "mta-sts.example.net")
    assert codes(bench)["certificate-name"] == "error"


def test_no_answer_is_not_taken_for_wrong(bench: Bench, dns: DnsAuthority) -> None:
    prepared(bench, document(dns))
    dns.behave("*", Behaviour.SERVFAIL)
    found = codes(bench)
    assert (found["mx-unknown"], found["record-unknown"]) == ("info", "info")
    assert not {"record-missing", "mx-not-listed", "elsewhere"} & found.keys()


def test_a_certificate_that_does_not_carry_the_policy_host_is_warned_of(
    bench: Bench, dns: DnsAuthority
) -> None:
    prepared(bench, document(dns), "mx.example.net")
    problems = bench.call("config.check", text=b64(document(dns)))["problems"]
    (problem,) = [one for one in problems if "mta-sts" in one["text"]]
    assert (problem["path"], problem["severity"]) == ("mta_sts_policies[0].certificate", "warning")
    assert "not valid for mta-sts.example.net" in problem["text"]


def test_its_certificate_is_not_deleted(bench: Bench, dns: DnsAuthority) -> None:
    prepared(bench, document(dns))
    with pytest.raises(OperatorError, match=r"used by MTA-STS policy of Example\.NET"):
        bench.call("cert.delete", name="web")


def test_more_policies_than_are_looked_at_at_once_are_all_looked_at(bench: Bench, dns: DnsAuthority) -> None:
    more = "".join(f"  - {{domain: d{n}.example, mode: none, certificate: web}}\n" for n in range(25))
    prepared(bench, document(dns, POLICY + "\n" + more))
    found = bench.call("sts.check")
    assert [one["domain"] for one in found] == ["example.net", *(f"d{n}.example" for n in range(25))]
    assert {one["mx_status"] for one in found[1:]} == {"none"}
