"""Which destinations fail, when one works again, and what is said of both (R30)."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.policy.required_tls import (
    FORGOTTEN,
    MAX_ADDRESSES,
    MAX_DOMAINS,
    OTHERS_WORK,
    Failing,
    FailingDomains,
    Failure,
    cleared,
    trouble,
)

NOW = 1_800_000_000.0
ONE, TWO = "192.0.2.1", "192.0.2.2"


def failure(at: float = NOW, domain: str = "a.example", address: str = ONE) -> Failure:
    return Failure(at, domain, address, "required", "remote host does not offer STARTTLS")


def test_a_domain_works_again_when_every_address_that_failed_does() -> None:
    domains = FailingDomains()
    domains.failed(failure())
    domains.failed(failure(NOW + 1, address=TWO))
    assert domains.worked("a.example", "192.0.2.3", NOW + 2) is None
    assert domains.worked("a.example", ONE, NOW + 3) is None
    known = domains.worked("a.example", TWO, NOW + 4)
    assert known is not None
    assert (known.count, known.since, known.last) == (2, NOW, NOW + 1)
    assert not domains
    assert domains.worked("a.example", TWO, NOW + 5) is None


def test_an_older_success_ends_nothing() -> None:
    domains = FailingDomains()
    domains.failed(failure())
    assert domains.worked("a.example", ONE, NOW - 1) is None
    assert domains.worked("b.example", ONE, NOW + 1) is None
    assert "a.example" in domains


def test_an_address_that_nobody_tries_any_more_does_not_count_for_ever() -> None:
    domains = FailingDomains()
    domains.failed(failure())
    assert domains.worked("a.example", TWO, NOW + OTHERS_WORK - 1) is None
    assert domains.worked("a.example", TWO, NOW + OTHERS_WORK) is not None


def test_what_neither_fails_nor_works_is_forgotten() -> None:
    domains = FailingDomains()
    domains.failed(failure())
    domains.failed(failure(NOW + 10, "b.example"))
    domains.forget(NOW + FORGOTTEN + 5)
    assert "a.example" not in domains
    assert "b.example" in domains


def test_the_memory_is_bounded() -> None:
    domains = FailingDomains()
    for number in range(MAX_DOMAINS + 5):
        domains.failed(failure(NOW + number, f"{number}.example"))
    assert len(domains.plain()) == MAX_DOMAINS
    assert "4.example" not in domains
    for number in range(MAX_ADDRESSES + 5):
        known = domains.failed(failure(NOW, "a.example", f"192.0.2.{number}"))
    assert len(known.addresses) == MAX_ADDRESSES


def test_it_survives_being_written_down() -> None:
    domains = FailingDomains()
    domains.failed(failure())
    again = FailingDomains.of_plain(domains.plain())
    assert again.plain() == domains.plain()


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([ONE, TWO]), st.floats(0.0, 4_000.0)), max_size=40))
@settings(max_examples=100, deadline=None)
def test_a_domain_never_works_again_while_an_address_failed_last_and_lately(
    steps: list[tuple[bool, str, float]],
) -> None:
    domains = FailingDomains()
    now = NOW
    last: dict[str, float] = {}
    for works, address, pause in steps:
        now += pause
        if not works:
            domains.failed(failure(now, address=address))
            last[address] = now
            continue
        ended = domains.worked("a.example", address, now)
        last.pop(address, None)
        lately = [at for at in last.values() if now - at < OTHERS_WORK]
        assert ended is None or not lately
        if ended is not None:
            last.clear()


KNOWN = Failing(NOW, NOW + 90, 3, ONE, "required-verify", "verify error: certificate has expired", {ONE: NOW})


def test_the_alert_names_the_domain_and_the_reason_in_the_words_of_the_log() -> None:
    alert = trouble("a.example", KNOWN, 2)
    assert (alert.key, alert.severity, alert.times) == ("required-tls:a.example", "warning", 2)
    assert alert.subject == "Required TLS failed: a.example"
    assert "Reason:  verify error: certificate has expired" in alert.text
    assert "(required-verify)" in alert.text
    assert "3 times since 2027-01-15 08:00:00 UTC" in alert.text
    assert alert.clears is False


def test_its_end_has_the_same_key_and_says_what_was() -> None:
    alert = cleared("a.example", KNOWN, NOW + 100, "TLSv1.3 X")
    assert (alert.key, alert.severity, alert.clears) == ("required-tls:a.example", "information", True)
    assert "3 times from 2027-01-15 08:00:00 UTC to 2027-01-15 08:01:30 UTC" in alert.text
    assert "TLSv1.3 X" in alert.text
