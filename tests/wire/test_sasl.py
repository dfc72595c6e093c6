"""The machines of PLAIN, LOGIN and SCRAM-SHA-256: the examples of the RFCs, every malformed input, and any input at all."""

from __future__ import annotations

from base64 import b64decode, b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.wire.sasl import (
    Challenge,
    CheckPassphrase,
    CheckProof,
    Login,
    LookUp,
    Machine,
    Plain,
    Proven,
    SaslFault,
    Scram,
)
from gatepost.wire.scram import ScramVerifier

PENCIL = ScramVerifier.derive("pencil", b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096)
CLIENT_NONCE, SERVER_NONCE = "rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
FIRST = f"n,,n=user,r={CLIENT_NONCE}".encode()
FINAL = f"c=biws,r={CLIENT_NONCE}{SERVER_NONCE},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=".encode()


def fault(machine: Machine, data: bytes | None) -> SaslFault:
    with pytest.raises(SaslFault) as told:
        machine.respond(data)
    return told.value


# --- PLAIN ----------------------------------------------------------------------------------------


def test_plain_with_and_without_an_initial_response() -> None:
    wanted = CheckPassphrase("tim", "tanstaaftanstaaf")
    assert Plain().respond(b"\0tim\0tanstaaftanstaaf") == wanted
    machine = Plain()
    assert machine.respond(None) == Challenge(b"")
    assert machine.respond(b"tim\0tim\0tanstaaftanstaaf") == wanted


def test_plain_is_prepared() -> None:
    step = Plain().respond("\0ma\u00adry\0pass\u00a0phrase".encode())
    assert step == CheckPassphrase("mary", "pass phrase")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "three parts"),
        (b"mary", "three parts"),
        (b"\0mary", "three parts"),
        (b"\0mary\0pass\0", "three parts"),
        (b"\0m\xff\0pass", "not UTF-8"),
        (b"\0mary\0p\xc0\x80", "not UTF-8"),
    ],
)
def test_what_is_not_plain(data: bytes, reason: str) -> None:
    told = fault(Plain(), data)
    assert told.malformed
    assert reason in told.reason


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"root\0mary\0secret", "another identity"),
        (b"MARY\0mary\0secret", "another identity"),
        (b"\0\0secret", "the name is empty"),
        ("\0\u00ad\0secret".encode(), "the name is empty"),
        (b"\0mary\0", "the pass-phrase is empty"),
        (b"\0ma\x07ry\0secret", "control character"),
        (b"\0mary\0sec\x07ret", "control character"),
        (b"\0" + b"m" * 1025 + b"\0secret", "too long"),
        (b"\0mary\0" + b"s" * 1025, "too long"),
    ],
)
def test_plain_that_proves_nothing(data: bytes, reason: str) -> None:
    told = fault(Plain(), data)
    assert not told.malformed
    assert reason in told.reason
    assert "secret" not in told.reason


# --- LOGIN ----------------------------------------------------------------------------------------


def test_login_asks_twice() -> None:
    machine = Login()
    assert machine.respond(None) == Challenge(b"Username:")
    assert machine.respond(b"mary") == Challenge(b"Password:")
    assert machine.respond(b"sec ret") == CheckPassphrase("mary", "sec ret")


def test_login_with_the_name_at_once() -> None:
    machine = Login()
    assert machine.respond(b"mary") == Challenge(b"Password:")
    assert machine.user == "mary"
    assert fault(machine, b"").reason == "the pass-phrase is empty"


# --- SCRAM ----------------------------------------------------------------------------------------


def scram() -> Scram:
    """Behind the server's first message."""
    machine = Scram(SERVER_NONCE)
    assert machine.respond(FIRST) == LookUp("user")
    first = f"r={CLIENT_NONCE}{SERVER_NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    assert machine.known(PENCIL) == Challenge(first.encode())
    return machine


def test_the_example_of_rfc_7677() -> None:
    machine = scram()
    assert machine.respond(FINAL) == CheckProof("user")
    assert machine.check() == Challenge(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
    assert machine.respond(b"") == Proven("user")


def test_the_first_message_may_be_asked_for() -> None:
    machine = Scram(SERVER_NONCE)
    assert machine.respond(None) == Challenge(b"")
    assert machine.respond(FIRST) == LookUp("user")


def test_an_answer_behind_the_end_is_refused() -> None:
    machine = scram()
    machine.respond(FINAL)
    machine.check()
    assert fault(machine, b"x").malformed


@pytest.mark.parametrize(
    "first", [b"y,,n=user,r=abc", b"n,a=user,n=user,r=abc,x=extension", b"n,a=us=2Cer,n=us=2Cer,r=abc"]
)
def test_first_messages_that_are_taken(first: bytes) -> None:
    assert isinstance(Scram("x").respond(first), LookUp)


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"n,,",
        b"n,,n=user",
        b"n,,n=,r=abc",
        b"n,,r=abc,n=user",
        b"n,n=user,r=abc",
        b"x,,n=user,r=abc",
        b"p=tls-exporter,,n=user,r=abc",
        b"n,,m=new,n=user,r=abc",
        b"n,,n=us=er,r=abc",
        b"n,,n=us=2cer,r=abc",
        b"n,,n=user,r=",
        b"n,,n=user,r=a bc",
        "n,,n=user,r=\u00e9".encode(),
        b"n,,n=user,r=" + b"a" * 257,
        b"n,,n=\xff,r=abc",
    ],
)
def test_first_messages_that_are_none(first: bytes) -> None:
    assert fault(Scram("x"), first).malformed


def test_a_first_message_for_somebody_else() -> None:
    told = fault(Scram("x"), b"n,a=root,n=user,r=abc")
    assert not told.malformed
    assert told.reason == "asks for another identity"


@pytest.mark.parametrize(
    "final",
    [
        b"",
        FINAL[:-1],
        FINAL.replace(b"c=biws", b"c=eSws"),
        FINAL.replace(b"c=biws", b"c=bi*s"),
        FINAL.replace(SERVER_NONCE.encode(), b""),
        FINAL.replace(b",p=", b",p=="),
        FINAL.rpartition(b",p=")[0],
        FINAL + b",x=1",
        FINAL + b"\xff",
    ],
)
def test_final_messages_that_are_none(final: bytes) -> None:
    assert fault(scram(), final).malformed


@pytest.mark.parametrize("change", [(b",p=dH", b",p=dI"), (b",p=", b",x=1,p=")])
def test_a_proof_that_is_wrong(change: tuple[bytes, bytes]) -> None:
    machine = scram()
    assert machine.respond(FINAL.replace(*change)) == CheckProof("user")
    with pytest.raises(SaslFault, match="wrong pass-phrase") as told:
        machine.check()
    assert not told.value.malformed


# --- any input ------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [b"n,,", b"n=user", b"r=abc", b",", b"c=biws", b"p=", b"\0", b"mary", b"a=", b"m=x", FIRST, FINAL, b""]
)
INPUTS = st.lists(st.lists(PIECES | st.binary(max_size=8), max_size=6).map(b"".join), max_size=5)


@given(st.sampled_from(["PLAIN", "LOGIN", "SCRAM"]), INPUTS)
@settings(max_examples=100)
def test_any_input_gives_a_step_or_a_fault(name: str, inputs: list[bytes]) -> None:
    machine: Machine = {"PLAIN": Plain, "LOGIN": Login, "SCRAM": lambda: Scram("nonce")}[name]()
    try:
        for data in inputs:
            step = machine.respond(data)
            if isinstance(step, LookUp):
                assert isinstance(machine, Scram)
                step = machine.known(PENCIL)
            if isinstance(step, CheckProof):
                return
            if isinstance(step, CheckPassphrase):
                assert step.user
                assert step.passphrase
                return
            assert isinstance(step, Challenge), "nobody is known by chance"
    except SaslFault:
        pass


def test_no_step_shows_a_pass_phrase() -> None:
    assert "secret" not in repr(Plain().respond(b"\0mary\0secret"))
    assert b64encode(b"secret") not in repr(Challenge(b"secret")).encode()
