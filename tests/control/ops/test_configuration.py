"""config.*: apply, pending, commit, diff, history, rollback; on a stopped and on a running gateway."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.control.kit import CONTRACT_LIKE, Bench, b64, new_home

from gatepost.core.errors import Exit, OperatorError
from gatepost.core.events import Noted
from gatepost.store.config_store import ConfigStore


@pytest.fixture(params=["stopped", "running"])
def either(request: pytest.FixtureRequest, bench: Bench) -> Bench:
    if request.param == "running":
        bench.start()
    return bench


def paths(error: OperatorError) -> list[str]:
    return [problem.path for problem in error.problems]


def test_a_file_replaces_the_whole_document(either: Bench) -> None:
    answer = either.apply(CONTRACT_LIKE, comment="first")
    assert (answer["version"], answer["pending"], answer["included"]) == (2, False, False)
    document = either.document()
    assert document["system"] == {"hostname": "gw.example.net"}
    assert [listener["name"] for listener in document["listeners"]] == ["IncomingMail"]
    newest = either.call("config.history")[0]
    assert newest == {
        "version": 2,
        "time": "2027-01-15T08:00:00Z",
        "author": "local:1000",
        "comment": "first",
    }


def test_a_running_gateway_activates_what_is_stored(bench: Bench) -> None:
    gateway = bench.start()
    bench.apply(CONTRACT_LIKE)
    assert gateway.active["version"] == bench.versions() == 2
    assert gateway.active["document"] == bench.document()


def test_a_gateway_that_refuses_leaves_nothing_behind(bench: Bench) -> None:
    gateway = bench.start()
    gateway.refuses = "the port is taken"
    with pytest.raises(OperatorError, match="the port is taken"):
        bench.apply(CONTRACT_LIKE)
    assert bench.versions() == gateway.active["version"] == 1
    assert not bench.call("config.pending")["pending"]


def test_a_commit_that_another_overtakes_changes_nothing(bench: Bench) -> None:
    gateway = bench.start()

    def overtake() -> None:
        latest = bench.store.latest()
        assert latest is not None
        bench.store.commit(latest.number, latest.content, "local:7", "", 0.0)

    gateway.before_store = overtake
    with pytest.raises(OperatorError) as caught:
        bench.apply(CONTRACT_LIKE)
    assert caught.value.code == Exit.TRY_AGAIN
    assert bench.call("config.history")[0]["author"] == "local:7"
    assert gateway.active["version"] == 1


def test_all_faults_come_at_once_and_nothing_is_applied(either: Bench) -> None:
    faulty = CONTRACT_LIKE.replace("certificate: Demo", "certificate: gone").replace("port: 2525", "port: 0")
    faulty += "tls_settings: {inbound: {ciphers: NOPE}}\nsystm: {}\n"
    with pytest.raises(OperatorError) as caught:
        either.apply(faulty)
    assert caught.value.code == Exit.FAULTY_CONFIGURATION
    assert {"listeners[0].port", "listeners[0].certificate", "systm"} <= set(paths(caught.value))
    assert either.versions() == 1


def test_a_cipher_list_that_the_library_does_not_know_is_a_fault_with_its_path(either: Bench) -> None:
    with pytest.raises(OperatorError) as caught:
        either.apply(CONTRACT_LIKE + "tls_settings: {outbound: {ciphers: NOPE}}\n")
    assert paths(caught.value) == ["tls_settings.outbound.ciphers"]
    assert caught.value.code == Exit.FAULTY_CONFIGURATION
    assert either.versions() == 1


def test_groups_that_the_library_does_not_know_are_a_fault_with_its_path(either: Bench) -> None:
    with pytest.raises(OperatorError) as caught:
        either.apply(CONTRACT_LIKE + "tls_settings: {inbound: {ciphers: NOPE, groups: 'X25519:NOPE'}}\n")
    assert paths(caught.value) == ["tls_settings.inbound.ciphers", "tls_settings.inbound.groups"]
    assert either.versions() == 1
    with pytest.raises(OperatorError) as caught:
        either.apply(CONTRACT_LIKE + "tls_settings: {outbound: {groups: '?NOPE'}, web: {groups: '?NOPE'}}\n")
    assert paths(caught.value) == ["tls_settings.outbound.groups", "tls_settings.web.groups"]
    either.apply(CONTRACT_LIKE + "tls_settings: {inbound: {groups: '?NOPE:X25519MLKEM768:X25519'}}\n")


def test_what_is_not_yaml_is_a_fault(either: Bench) -> None:
    for text in ("a: [b", "", "\x00", "- a\n- b", 'a: "\\ud800"'):
        with pytest.raises(OperatorError) as caught:
            either.apply(text)
        assert caught.value.code == Exit.FAULTY_CONFIGURATION
        assert caught.value.problems
    assert either.versions() == 1


def test_what_has_no_effect_yet_is_warned_about(either: Bench) -> None:
    text = CONTRACT_LIKE + "tls_settings: {web: {minimum: TLSv1.3}}\n"
    for answer in (either.apply(text), either.call("config.check", text=b64(text))):
        warning, _ = answer.get("warnings") or answer["problems"]  # the other one is of the demo certificate
        assert warning["path"] == "tls_settings.web"
        assert warning["text"] == "stored, not yet enforced"
        assert warning["severity"] == "warning"


def test_checking_stores_nothing(either: Bench) -> None:
    answer = either.call("config.check", text=b64("systm: {}"))
    assert [p["path"] for p in answer["problems"] if p["severity"] == "error"] == ["systm"]
    syntax = either.call("config.check", text=b64("a: [b"))["problems"]
    assert [problem["severity"] for problem in syntax] == ["error"]
    assert either.versions() == 1


def test_a_pending_change_has_no_effect_until_it_is_committed(either: Bench) -> None:
    assert either.apply(CONTRACT_LIKE, pending=True)["pending"]
    assert either.versions() == 1
    found = either.call("config.pending")
    assert found["pending"]
    assert found["base"] == 1
    assert "  system.hostname: " in "\n".join(change["line"] for change in found["changes"])
    assert not either.call("config.pending", uid=1001)["pending"]
    assert either.call("config.commit", comment="now")["version"] == 2
    assert either.document()["system"]["hostname"] == "gw.example.net"
    assert not either.call("config.pending")["pending"]


def test_pending_changes_can_be_given_up(bench: Bench) -> None:
    bench.apply(CONTRACT_LIKE, pending=True)
    assert bench.call("config.clear")["cleared"]
    assert not bench.call("config.clear")["cleared"]
    with pytest.raises(OperatorError, match="no pending changes"):
        bench.call("config.commit")


def test_a_one_shot_change_takes_the_pending_ones_along_and_says_so(bench: Bench) -> None:
    bench.apply(CONTRACT_LIKE, pending=True)
    answer = bench.call("ca.switch", list="system", enabled=False)
    assert answer["included"]
    document = bench.document()
    assert document["system"]["hostname"] == "gw.example.net"
    assert document["certificate_authorities"]["system"] is False


def test_two_administrators_who_change_different_things_both_succeed(either: Bench) -> None:
    either.apply(CONTRACT_LIKE)
    either.apply(CONTRACT_LIKE.replace("port: 2525", "port: 2526"), uid=1, pending=True)
    either.apply(CONTRACT_LIKE.replace("gw.example.net", "gw2.example.net"), uid=2, pending=True)
    either.call("config.commit", uid=1)
    either.call("config.commit", uid=2)
    document = either.document()
    assert document["listeners"][0]["port"] == 2526
    assert document["system"]["hostname"] == "gw2.example.net"
    assert [row["author"] for row in either.call("config.history")[:2]] == ["local:2", "local:1"]


def test_who_comes_second_with_the_same_thing_is_shown_both_and_loses_nothing(either: Bench) -> None:
    either.apply(CONTRACT_LIKE)
    mine = CONTRACT_LIKE.replace("port: 2525", "port: 2527")
    either.apply(mine, uid=2, pending=True)
    either.apply(CONTRACT_LIKE.replace("port: 2525", "port: 2526"), uid=1)
    with pytest.raises(OperatorError) as caught:
        either.call("config.commit", uid=2)
    assert caught.value.code == Exit.REFUSED
    (problem,) = caught.value.problems
    assert problem.path == "listeners[IncomingMail].port"
    assert all(text in problem.text for text in ("2525", "2526", "2527", "version 3"))
    assert "local:1" in caught.value.message
    assert either.versions() == 3
    assert either.call("config.pending", uid=2)["pending"]
    # The whole file, applied again by somebody who has now seen the other's change, stands for itself.
    assert either.apply(mine, uid=2)["version"] == 4
    assert either.document()["listeners"][0]["port"] == 2527


def test_a_merge_is_checked_as_a_whole(bench: Bench) -> None:
    """One takes the policy away that the other begins to use: each alone is sound, both together are not."""
    policies = (
        "mail_flow_policies:\n  - {name: ACCEPTED, action: accept}\n  - {name: OTHER, action: reject}\n"
    )
    bench.apply(CONTRACT_LIKE + policies)
    uses = CONTRACT_LIKE.replace(
        "- {group: ALL, policy: ACCEPTED}",
        "- {group: BAD, senders: [192.0.2.1], policy: OTHER}\n      - {group: ALL, policy: ACCEPTED}",
    )
    bench.apply(uses + policies, uid=1, pending=True)
    bench.apply(CONTRACT_LIKE + "mail_flow_policies: [{name: ACCEPTED, action: accept}]\n", uid=2)
    with pytest.raises(OperatorError) as caught:
        bench.call("config.commit", uid=1)
    assert caught.value.code == Exit.FAULTY_CONFIGURATION
    assert paths(caught.value) == ["listeners[0].host_access[0].policy"]
    assert bench.versions() == 3


def test_a_difference_names_every_change(bench: Bench) -> None:
    bench.apply(CONTRACT_LIKE)
    bench.apply(CONTRACT_LIKE.replace("port: 2525", "port: 2526"))
    last = bench.call("config.diff")
    assert (last["from"], last["to"]) == (2, 3)
    assert [change["line"] for change in last["changes"]] == ["  listeners[IncomingMail].port: 2525 -> 2526"]
    assert len(bench.call("config.diff", version=1)["changes"]) > 1
    with pytest.raises(OperatorError, match="no version 9"):
        bench.call("config.diff", version=9)


def test_a_rollback_brings_document_and_certificates_back_as_a_new_version(either: Bench) -> None:
    either.call("cert.new", name="gw", common_name="mx.example.net", key="p256")
    before = either.opens("gw")
    either.apply(CONTRACT_LIKE.replace("certificate: Demo", "certificate: gw"))
    either.call("ca.switch", list="system", enabled=False)
    assert either.call("config.rollback", version=1)["version"] == 5
    assert [row["name"] for row in either.call("cert.list")] == ["Demo"]
    assert either.call("config.rollback", version=3)["version"] == 6
    assert either.document()["listeners"][0]["certificate"] == "gw"
    assert either.opens("gw") == before
    assert either.call("config.history")[0]["comment"] == "rollback to version 3"


def test_a_rollback_refuses_to_swallow_pending_changes(bench: Bench) -> None:
    bench.apply(CONTRACT_LIKE, pending=True)
    with pytest.raises(OperatorError, match="pending changes"):
        bench.call("config.rollback", version=1)
    assert bench.call("config.pending")["pending"]


def test_every_change_is_audited_with_its_outcome(bench: Bench) -> None:
    gateway = bench.start()
    bench.apply(CONTRACT_LIKE, comment="a secret plan")
    with pytest.raises(OperatorError):
        bench.apply("systm: {}", uid=7)
    bench.call("config.show")
    lines = [event.text for event in gateway.events if isinstance(event, Noted)]
    assert lines == [
        "config.apply by local:1000: version 2",
        "config.apply by local:7: refused: the configuration has 1 fault",
    ]


def test_a_change_on_a_stopped_gateway_is_in_the_same_logs(bench: Bench) -> None:
    bench.apply(CONTRACT_LIKE)
    assert "Info: config.apply by local:1000: version 2" in bench.home.mail_log.read_text()
    assert '"operation":"config.apply"' in bench.home.event_log.read_text()


@pytest.mark.parametrize("comment", ["x" * 401, "a\x1b[31mb"])
def test_a_comment_that_would_spoil_the_history_is_refused(bench: Bench, comment: str) -> None:
    with pytest.raises(OperatorError) as caught:
        bench.apply(CONTRACT_LIKE, comment=comment)
    assert caught.value.code == Exit.USAGE


def test_the_contracts_file_is_taken_as_it_stands(bench: Bench) -> None:
    """The example of the contract, as far as it names a certificate that has to exist."""
    text = (Path(__file__).parents[2] / "config" / "data" / "gateway.yaml").read_text()
    with pytest.raises(OperatorError) as caught:
        bench.apply(text)
    assert {problem.text for problem in caught.value.problems} == {'no certificate named "gw"'}
    bench.call("cert.new", name="gw", common_name="mx.example.net", key="p256")
    answer = bench.apply(text)
    texts = {warning["text"] for warning in answer["warnings"]}
    assert {text for text in texts if "self-signed" not in text} == {"stored, not yet enforced"}


def test_a_second_store_sees_what_was_committed(bench: Bench) -> None:
    bench.apply(CONTRACT_LIKE)
    bench.store.close()
    again = ConfigStore.open(bench.home.config_db)
    latest = again.latest()
    again.close()
    assert latest is not None
    assert latest.content.document["system"] == {"hostname": "gw.example.net"}


# --- a file is told the same before and when it is taken ----------------------------------------


def warned(problems: list[dict[str, str]]) -> list[tuple[str, str]]:
    return [(one["path"], one["text"]) for one in problems if one["severity"] == "warning"]


def test_check_and_apply_warn_of_the_same(either: Bench) -> None:
    text = CONTRACT_LIKE.replace("name: Data 1, ", "name: Data 1, ssh: {port: 2222}, ")
    checked = warned(either.call("config.check", text=b64(text))["problems"])
    assert checked[-1] == (
        "listeners[0].certificate",
        "Demo is a demo certificate: it encrypts, but nobody can verify it (listener IncomingMail, delivery)",
    )
    assert len(checked) == 2
    assert warned(either.apply(text)["warnings"]) == checked
    # What was applied before is said again: the file is the same, and so is what is to be said of it.
    assert warned(either.apply(text)["warnings"]) == checked
    assert warned(either.call("config.check", text=b64(text))["problems"]) == checked
    assert warned(either.call("config.pending")["problems"]) == []
    assert warned(either.apply(text, pending=True)["warnings"]) == checked
    assert warned(either.call("config.pending")["problems"]) == checked
    assert warned(either.call("config.commit", comment="")["warnings"]) == checked


def test_of_certificates_in_the_file_check_and_apply_warn_of_the_same(bench: Bench, tmp_path: Path) -> None:
    bench.call("cert.new", name="own", common_name="other.example.net")
    bench.apply(CONTRACT_LIKE.replace("Demo", "own\n    sni: [{name: mx2.example.net, certificate: own}]"))
    text = bench.call("config.export", certificates=True)["text"]
    fresh = Bench(new_home(tmp_path / "fresh"))
    checked = warned(fresh.call("config.check", text=b64(text))["problems"])
    assert [path for path, _ in checked] == [
        "listeners[0].sni[0].certificate",
        "listeners[0].certificate",
        "destination_controls.global.certificate",
    ]
    assert warned(fresh.apply(text)["warnings"]) == checked
