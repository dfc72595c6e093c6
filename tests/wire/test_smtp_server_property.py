"""The engine under any octets in any split: it never raises, keeps little, and says the same.

A peer may not send behind DATA or STARTTLS before it was answered, so a stream is a list of groups: these
two verbs end a group, and only what is inside a group is split differently.
"""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.transcript import Talk

from gatepost.core.reply import Reply
from gatepost.wire.server_auth import MAX_RESPONSE
from gatepost.wire.server_commands import ServerSettings, State
from gatepost.wire.server_events import Abuse, Auth, Body, BodyEnd, BodyStarted, ServerEvent, StartTls
from gatepost.wire.smtp_server import ServerEngine

SETTINGS = ServerSettings("mx.example.net", 120, max_line=80, max_header=60, auth=("LOGIN",))

FRAGMENTS = st.sampled_from(
    [
        b"EHLO a.example\r\n",
        b"HELO b\r\n",
        b"MAIL FROM:<a@b.example>\r\n",
        b"MAIL FROM:<>\r\n",
        b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@example.net>\r\n",
        b"RCPT TO:<c@example.net>\r\n",
        b"AUTH LOGIN\r\n",
        b"AUTH LOGIN bWFyeQ==\r\n",
        b"bWFyeQ==\r\n",
        b"*\r\n",
        b"RSET\r\n",
        b"NOOP\r\n",
        b"QUIT\r\n",
        b"FOO\r\n",
        b"BDAT 5\r\nabcde",
        b"BDAT 3\r\nx\r\n",
        b"BDAT 4 LAST\r\nyz\r\n",
        b"BDAT 1\r\n\r",
        b"BDAT 0 LAST\r\n",
        b"BDAT 200\r\n",
        b"BDAT x\r\n",
        b"GET /\r\n",
        b"\r\n.\r\n",
        b".\r\n",
        b"\r\n..",
        b"\r\n",
        b"\r",
        b"\n",
        b".",
        b"Subject: x\r\n\r\n",
        b"x" * 30,
        b"y" * 90,
        b"\0",
        b"\xff",
    ]
)
OPENING = b"EHLO a.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@example.net>\r\n"
# What is drawn at random must not be a verb that ends a group.
OTHER = st.binary(max_size=12).filter(lambda raw: b"DATA" not in raw.upper())
BODIES = st.lists(FRAGMENTS | OTHER, max_size=8).map(b"".join)
GROUPS = st.lists(
    st.tuples(
        st.sampled_from([b"", b"", OPENING]),
        BODIES,
        st.sampled_from([b"", b"\r\nDATA\r\n", b"\r\nSTARTTLS\r\n"]),
    ).map(b"".join),
    max_size=5,
)


def challenged(event: ServerEvent) -> Reply:
    """Asks back once where AUTH came without a response."""
    assert isinstance(event, Auth)
    return Reply(334) if event.response is None else Reply(235)


def start(tls: bool = False) -> Talk:
    engine = ServerEngine(SETTINGS, tls_active=tls)
    engine.starttls_offered = True
    engine.greet(Reply(220, "", ("mx",)))
    return Talk(engine, {Auth: challenged}).pump()


def feed(t: Talk, data: bytes) -> None:
    t >> data
    waits = t.engine.state is State.AUTHENTICATING
    assert t.engine.buffered <= (MAX_RESPONSE if waits else SETTINGS.max_line)


def handshake_if_due(t: Talk) -> None:
    if any(isinstance(e, StartTls) for e in t.events) and not (t.engine.closed or t.engine.tls_active):
        t.engine.tls_started()


def story(events: list[ServerEvent]) -> list[object]:
    """The events with bodies joined; of a refused message only that it was begun and refused."""
    told: list[object] = []
    body = b""
    for event in events:
        if isinstance(event, BodyStarted):
            body = b""
        if isinstance(event, Body):
            body += event.data
        elif isinstance(event, BodyEnd):
            told += [body, event]
        elif isinstance(event, Abuse) and not event.close:
            told.append("refused")
        else:
            told.append(event)
    return told


def replies(output: bytes) -> bytes:
    """The replies; which of several breaches refuses a message may depend on what was seen first."""
    return re.sub(rb"55[24] 5\.(6\.0|3\.4) (Bare|Message)[^\r]*", b"REFUSED", output)


@given(GROUPS, st.booleans(), st.data())
@settings(max_examples=100, deadline=None)
def test_same_story_in_every_split(groups: list[bytes], tls: bool, data: st.DataObject) -> None:
    whole, split, single = start(tls), start(tls), start(tls)
    for group in groups:
        feed(whole, group)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(group)), max_size=4)))
        for begin, end in zip([0, *cuts], [*cuts, len(group)], strict=True):
            feed(split, group[begin:end])
        for i in range(len(group)):
            feed(single, group[i : i + 1])
        for t in (whole, split, single):
            handshake_if_due(t)
    for t in (whole, split, single):
        t.eof()
    for other in (split, single):
        assert story(other.events) == story(whole.events)
        assert replies(other.output) == replies(whole.output)
        assert other.messages == whole.messages


@given(st.lists(st.binary(max_size=200), max_size=10))
@settings(max_examples=100)
def test_any_octets_never_raise(pieces: list[bytes]) -> None:
    t = start()
    for piece in pieces:
        feed(t, piece)
        handshake_if_due(t)
    t.eof()
    assert t.engine.closed
    assert t.output.startswith(b"220 mx\r\n")
