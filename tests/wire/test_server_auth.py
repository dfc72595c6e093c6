"""The dialogue behind AUTH, alone and in the engine: its lines, its limits, and where it may not begin (C5, C12, C30)."""

from __future__ import annotations

from base64 import b64encode

import pytest
from tests.fakes.transcript import Talk, talk

from gatepost.core.reply import Reply
from gatepost.wire.sasl import Challenge, CheckPassphrase, CheckProof, LookUp
from gatepost.wire.scram import ScramVerifier
from gatepost.wire.server_auth import (
    INVALID,
    MAX_RESPONSE,
    MECHANISMS,
    SUCCESS,
    AuthDialogue,
    AuthFault,
    challenge_reply,
)
from gatepost.wire.server_commands import ServerSettings, State
from gatepost.wire.server_events import Auth, ServerEvent
from gatepost.wire.smtp_server import ServerEngine

SETTINGS = ServerSettings("mx.example.net", 1_000_000, auth=MECHANISMS)
PLAIN = b64encode(b"\0mary\0secret")


def begun(mechanism: str = "LOGIN") -> AuthDialogue:
    return AuthDialogue(mechanism, MECHANISMS, "nonce")


def check_refused(reply: str, dialogue: AuthDialogue, line: bytes) -> AuthFault:
    with pytest.raises(AuthFault) as told:
        dialogue.line(line)
    assert told.value.reply.encode().decode().startswith(reply)
    return told.value


# --- the dialogue alone ---------------------------------------------------------------------------


def test_plain_in_one_go() -> None:
    assert begun("PLAIN").begin(PLAIN) == CheckPassphrase("mary", "secret")


def test_an_empty_initial_response_is_an_equals_sign() -> None:
    with pytest.raises(AuthFault) as told:
        begun("PLAIN").begin(b"=")
    assert told.value.reply.code == 501


@pytest.mark.parametrize(
    "line",
    [
        b"A",
        b"bWFyeQ",
        b"bWFyeQ=",
        b"bWFyeQ===",
        b"bWFy eQ==",
        b"bWFyeR==",
        b"bW\xffyeQ==",
        b"=",
        b"**",
        b"bWFyeQ==bWFyeQ==",
    ],
)
def test_lines_that_are_not_base64(line: bytes) -> None:
    dialogue = begun()
    dialogue.begin(None)
    assert not check_refused("501 5.5.2", dialogue, line).failed


def test_a_star_cancels_at_every_place() -> None:
    dialogue = begun()
    dialogue.begin(None)
    check_refused("501 5.7.0", dialogue, b"*")
    dialogue = begun()
    dialogue.begin(b64encode(b"mary"))
    check_refused("501 5.7.0", dialogue, b"*")


def test_a_mechanism_that_is_not_offered() -> None:
    with pytest.raises(AuthFault) as told:
        AuthDialogue("LOGIN", ("PLAIN",), "nonce")
    assert told.value.reply.code == 504


def test_scram_in_base64() -> None:
    dialogue = begun("SCRAM-SHA-256")
    assert dialogue.begin(b64encode(b"n,,n=mary,r=abc")) == LookUp("mary")
    step = dialogue.known(ScramVerifier(4096, b"salt", bytes(32), bytes(32)))
    assert isinstance(step, Challenge)
    assert challenge_reply(step).encode() == b"334 cj1hYmNub25jZSxzPWMyRnNkQT09LGk9NDA5Ng==\r\n"
    proof = b64encode(bytes(32))
    assert dialogue.line(b64encode(b"c=biws,r=abcnonce,p=" + proof)) == CheckProof("mary")
    with pytest.raises(AuthFault) as told:
        dialogue.check()
    assert told.value.reply is INVALID
    assert told.value.failed


# --- in the engine --------------------------------------------------------------------------------


def challenges(event: ServerEvent) -> Reply:
    """A session that asks twice, and then is content with everybody but `d3Jvbmc=`."""
    assert isinstance(event, Auth)
    if event.response == b"d3Jvbmc=":
        return INVALID
    if event.mechanism == "LOGIN" and event.response is None:
        return challenge_reply(Challenge(b"Username:"))
    return challenge_reply(Challenge(b"Password:")) if event.response == b"bWFyeQ==" else SUCCESS


def encrypted(**options: bool) -> Talk:
    engine = ServerEngine(SETTINGS, tls_active=True)
    return talk(engine, answers={Auth: challenges}, **options)


def test_auth_is_offered_inside_tls_only() -> None:
    offered = encrypted(hello=False)
    (
        offered
        >> b"EHLO client.example\r\n"
        << "250-mx.example.net\n250-PIPELINING\n250-SIZE 1000000\n250-AUTH PLAIN LOGIN SCRAM-SHA-256\n"
    )
    clear = talk(settings=SETTINGS, hello=False)
    clear >> b"EHLO client.example\r\n"
    assert "AUTH" not in clear.reply()


def test_auth_in_clear_is_refused_before_it_is_read() -> None:
    t = talk(settings=SETTINGS, starttls=True)
    t >> b"AUTH PLAIN " + PLAIN + b"\r\n" << "530 5.7.0 Must issue a STARTTLS command first" << None
    assert t.events == []


def test_auth_that_nobody_offers_is_unknown() -> None:
    t = talk()
    t >> b"AUTH PLAIN " + PLAIN + b"\r\n" << "502 5.5.1" << None
    assert t.events == []


def test_nothing_said_before_tls_counts() -> None:
    t = talk(settings=SETTINGS, starttls=True)
    t >> b"STARTTLS\r\n" << "220 "
    t.engine.tls_started()
    t >> b"AUTH PLAIN " + PLAIN + b"\r\n" << "503 5.5.1", "EHLO comes again first"


@pytest.mark.parametrize("one_by_one", [False, True])
def test_a_dialogue_of_three_lines(one_by_one: bool) -> None:
    t = encrypted()
    for line, reply in (
        (b"auth login", "334 VXNlcm5hbWU6"),
        (b"bWFyeQ==", "334 UGFzc3dvcmQ6"),
        (b"c2VjcmV0", "235 2.7.0"),
    ):
        (t.one_by_one if one_by_one else t.__rshift__)(line + b"\r\n")
        t << reply << None
    assert t.engine.state is State.READY
    assert [(e.mechanism, e.response) for e in t.events if isinstance(e, Auth)] == [
        ("LOGIN", None),
        ("", b"bWFyeQ=="),
        ("", b"c2VjcmV0"),
    ]
    t >> b"MAIL FROM:<a@b.example>\r\n" << "250 2.1.0" << None


def test_a_failure_ends_the_dialogue_and_not_the_session() -> None:
    t = encrypted()
    t >> b"AUTH LOGIN\r\n" << "334 "
    t >> b"d3Jvbmc=\r\n" << "535 5.7.8"
    t >> b"NOOP\r\n" << "250 " << None


def test_a_line_of_the_dialogue_is_never_a_command() -> None:
    t = encrypted()
    t >> b"AUTH LOGIN\r\n" << "334 "
    t >> b"QUIT\r\n"
    assert not t.engine.closed
    assert t.events[-1] == Auth("", b"QUIT")


@pytest.mark.parametrize(
    "line", [b"AUTH", b"AUTH ", b"AUTH PLA!N", b"AUTH PLAIN a b", b"AUTH " + b"X" * 21, b"AUTH PL\xc3\x84IN"]
)
def test_bad_arguments(line: bytes) -> None:
    encrypted() >> line + b"\r\n" << "501 5.5.4" << None


def test_not_within_a_transaction() -> None:
    t = encrypted()
    t >> b"MAIL FROM:<a@b.example>\r\n" << "250 "
    t >> b"AUTH LOGIN\r\n" << "503 5.5.1"
    t >> b"RSET\r\nAUTH LOGIN\r\n" << "250 " << "334 "


def test_a_long_response_is_taken_and_a_longer_one_refused() -> None:
    t = encrypted()
    t >> b"AUTH LOGIN\r\n" << "334 "
    t >> b"A" * (MAX_RESPONSE - 2) + b"\r\n" << "235 " << None
    t >> b"AUTH LOGIN\r\n" << "334 "
    t >> b"A" * (MAX_RESPONSE - 1) + b"\r\n" << "500 5.5.6" << None
    t >> b"NOOP\r\n" << "250 " << None
    t >> b"NOOP " + b"A" * 2048 + b"\r\n" << "500 5.5.2 Line too long", "commands are short again"


def test_a_line_without_end_ends_the_connection() -> None:
    t = encrypted()
    t >> b"AUTH LOGIN\r\n" << "334 "
    for _ in range(10):
        t >> b"A" * 8192
    t << "500 5.5.2"
    assert t.engine.closed


def test_a_bare_lf_ends_the_dialogue_and_hides_nothing() -> None:
    t = encrypted()
    t >> b"AUTH LOGIN\r\n" << "334 "
    t >> b"bWFyeQ==\nc2VjcmV0\r\n" << "500 5.5.2" << None
    assert t.events[-1] == Auth("LOGIN", None)


def test_refusals_count_as_faults() -> None:
    t = encrypted()
    for _ in range(20):
        t >> b"AUTH PLAIN d3Jvbmc=\r\n" << "535 "
    t << "421 4.7.0" << None
    assert t.engine.closed


def test_a_421_ends_the_connection() -> None:
    t = talk(ServerEngine(SETTINGS, tls_active=True), answers={Auth: Reply(421, "4.7.0", ("Enough",))})
    t >> b"AUTH PLAIN " + PLAIN + b"\r\n" << "421 " << None
    assert t.engine.closed


def test_the_event_does_not_show_the_response() -> None:
    assert "d3Jvbmc" not in repr(Auth("PLAIN", b"d3Jvbmc="))
