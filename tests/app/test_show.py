"""The show: its sink and its visitor over real connections, the ports it picks, the home it prepares, its lines."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.app.show import stage, visitor
from gatepost.app.show.gateway import GatewayProcess
from gatepost.app.show.places import NoPort, Ports, front_door, placed, routed
from gatepost.app.show.screen import COLUMNS, Screen, chopped, wrapped
from gatepost.app.show.sink import KEPT, KEPT_OCTETS, Received, Sink
from gatepost.config.defaults import default_document
from gatepost.config.load import load_plain, to_plain
from gatepost.core.errors import Exit, OperatorError
from gatepost.net.reactor import Reactor
from gatepost.store.config_store import ConfigStore
from gatepost.store.home import Home

pytestmark = pytest.mark.slow

LOOPBACK = ipaddress.ip_address("127.0.0.1")
SEQUENCE = (b"EHLO a.example\r\n", b"MAIL FROM:<a@b.example>\r\n", b"RCPT TO:<c@d.example>\r\n", b"DATA\r\n")


# --- the sink ----------------------------------------------------------------------------------


def with_sink(test: Callable[[Sink, Reactor], Awaitable[None]]) -> list[Received]:
    """Run a test against an open sink; returns what the sink told of."""
    told: list[Received] = []

    async def whole() -> None:
        reactor = Reactor(asyncio.get_running_loop())
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            listening = socket.create_server(("127.0.0.1", 0))
            sink = Sink(
                reactor, group, listening, "sink.example", on_message=told.append, on_problem=pytest.fail
            )
            try:
                await test(sink, reactor)
            finally:
                sink.close()
                reactor.close()

    asyncio.run(whole())
    return told


async def say(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes, last: bytes
) -> list[bytes]:
    """Send octets and read replies up to the line that begins with `last`."""
    writer.write(data)
    lines = []
    while not lines or not lines[-1].startswith(last):
        lines.append(await reader.readline())
        assert lines[-1], "the sink closed the connection"
    return lines


def test_a_message_reaches_the_sink_over_tls() -> None:
    message = visitor.content(visitor.SENDER, "mary@d.example", 1_700_000_000.0)

    async def test(sink: Sink, reactor: Reactor) -> None:
        sent = await visitor.send(reactor, LOOPBACK, sink.port, "mary@d.example", message)
        assert sent.answer == "250 2.0.0 Ok: kept as message 1 by the sink"
        assert sent.tls.protocol == "TLSv1.3"
        assert sent.mid == 0  # the sink is no gateway: it queues nothing

    (received,) = with_sink(test)
    assert (received.sender, received.recipients) == (visitor.SENDER, ("mary@d.example",))
    assert (received.content, received.size) == (message, len(message))
    assert received.hello == visitor.NAME
    assert received.tls is not None
    assert received.tls.protocol == "TLSv1.3"
    assert received.field("subject") == "One message through Gatepost"


def test_the_sink_takes_mail_in_clear_and_in_chunks() -> None:
    async def test(sink: Sink, reactor: Reactor) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", sink.port)
        await say(reader, writer, b"", b"220 ")
        await say(reader, writer, SEQUENCE[0], b"250 ")
        for line in SEQUENCE[1:3]:
            await say(reader, writer, line, b"250 ")
        await say(reader, writer, b"BDAT 6\r\nS: 1\r\n", b"250 ")
        assert not sink.messages
        await say(reader, writer, b"BDAT 3 LAST\r\n\r\nx", b"250 2.0.0 Ok: kept as message 1")
        await say(reader, writer, b"QUIT\r\n", b"221 ")
        assert await reader.read() == b""
        writer.close()

    (received,) = with_sink(test)
    assert (received.content, received.tls) == (b"S: 1\r\n\r\nx", None)


def test_what_was_reset_or_cut_off_is_no_message() -> None:
    async def test(sink: Sink, reactor: Reactor) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", sink.port)
        await say(reader, writer, b"", b"220 ")
        for line in SEQUENCE[:3]:
            await say(reader, writer, line, b"250 ")
        await say(reader, writer, b"BDAT 4\r\nhalf", b"250 ")
        await say(reader, writer, b"RSET\r\n", b"250 ")
        for line in SEQUENCE[1:3]:
            await say(reader, writer, line, b"250 ")
        await say(reader, writer, SEQUENCE[3], b"354 ")
        writer.write(b"Subject: cut off\r\n")
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()

    assert with_sink(test) == []


def test_the_sink_keeps_little_of_a_large_message_and_few_messages() -> None:
    large = b"Subject: large\r\n\r\n" + b"x" * 70 + b"\r\n" * (KEPT_OCTETS // 2)

    async def test(sink: Sink, reactor: Reactor) -> None:
        for _ in range(KEPT):
            await visitor.send(reactor, LOOPBACK, sink.port, "a@b.example", b"Subject: small\r\n\r\n")
        await visitor.send(reactor, LOOPBACK, sink.port, "a@b.example", large)
        assert len(sink.messages) == KEPT
        assert sink.messages[0].number == 2

    received = with_sink(test)[-1]
    assert received.content == large[:KEPT_OCTETS]
    assert received.size == len(large)


def test_a_refusal_is_told_with_the_servers_own_words() -> None:
    async def test(_sink: Sink, reactor: Reactor) -> None:
        async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"554 5.7.1 Not you\r\n")
            await reader.read()
            writer.close()

        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(visitor.NotSent, match=r"it answered 554 5\.7\.1 Not you"):
            await visitor.send(reactor, LOOPBACK, port, "a@b.example", b"\r\n")
        server.close()
        await server.wait_closed()
        with pytest.raises(visitor.NotSent, match=f"no connection to 127.0.0.1 port {port}: .*refused"):
            await visitor.send(reactor, LOOPBACK, port, "a@b.example", b"\r\n")

    with_sink(test)


def test_a_header_field_is_found_whatever_its_case_and_folding() -> None:
    received = Received(
        1, "", (), 0, b"X: 1\r\nSubject: a\r\n\tlong one\r\nTo: b\r\n\r\nSubject: no", "", None
    )
    assert received.header == ["X: 1", "Subject: a", "\tlong one", "To: b"]
    assert received.field("SUBJECT") == "a long one"
    assert received.field("Cc") == ""


# --- ports and routes ----------------------------------------------------------------------------


def document() -> dict[str, Any]:
    return to_plain(default_document("host.example"))


def test_free_ports_stay_as_they_are() -> None:
    ports = Ports(lambda address, port: True)
    assert placed(document(), ports) == document()
    assert ports.moved == []


def test_a_taken_port_moves_to_the_next_free_one_and_no_two_share_one() -> None:
    ports = Ports(lambda address, port: port not in (2525, 2526))
    assert ports.choose("the sink", "127.0.0.1", 2526) == 2527
    found = placed(document(), ports)
    assert [listener["port"] for listener in found["listeners"]] == [2528, 2587]
    assert ports.moved == [("the sink", 2526, 2527), ("IncomingMail", 2525, 2528)]


def test_without_a_free_port_the_show_says_so() -> None:
    with pytest.raises(NoPort, match=r"no port from 65000 on is free on 127\.0\.0\.1"):
        Ports(lambda address, port: False).choose("the sink", "127.0.0.1", 65_000)


def test_all_mail_goes_to_the_sink_and_other_routes_stay() -> None:
    partner = {"domain": "partner.example", "hosts": ["[mx.partner.example]"]}
    mine = {**document(), "smtp_routes": [{"domain": "all", "hosts": ["usedns"]}, partner]}
    found = routed(mine, 2526)
    assert found["smtp_routes"] == [partner, {"domain": "ALL", "hosts": ["127.0.0.1:2526"]}]
    assert to_plain(load_plain(found)) == found  # it is a document that a commit takes


def test_the_message_goes_to_the_first_public_listener_and_a_recipient_it_takes() -> None:
    door = front_door(document())
    assert door is not None
    assert (door.listener, door.address, door.port) == ("IncomingMail", "127.0.0.1", 2525)
    assert door.recipient == "postmaster@host.example"


@pytest.mark.parametrize(
    ("entry", "recipient"),
    [
        ("d.example", "postmaster@d.example"),
        ("mary@d.example", "mary@d.example"),
        ("mary@", "mary@host.example"),
        ("ALL", "postmaster@host.example"),
        (".d.example", "postmaster@host.example"),
    ],
)
def test_the_recipient_follows_the_recipient_table(entry: str, recipient: str) -> None:
    changed = document()
    changed["listeners"][0]["recipient_access"] = [
        {"recipient": "no.example", "action": "reject"},
        {"recipient": entry, "action": "accept"},
    ]
    door = front_door(changed)
    assert door is not None
    assert door.recipient == recipient


def test_without_a_public_listener_nothing_can_be_sent() -> None:
    assert front_door({**document(), "listeners": document()["listeners"][1:]}) is None


# --- the home ----------------------------------------------------------------------------------------


def prepare(home: Home, *taken: int) -> stage.Stage:
    """Prepare a home on a machine whose ports are free, but for those that are `taken`."""
    ports = Ports(lambda address, port: port not in taken)
    made = asyncio.run(stage.prepare(home, {}, ports, sink_port=0))
    made.sink.close()
    # The sink's port is the kernel's choice here, and another one each time.
    made.document["smtp_routes"] = []
    return made


def history(home: Home) -> list[tuple[int, str]]:
    store = ConfigStore.open(home.config_db)
    try:
        return [(row.number, row.comment) for row in store.history()]
    finally:
        store.close()


def test_a_new_home_gets_the_default_document_and_the_shows_own_version(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    first = prepare(home)
    assert first.new
    assert first.version == 2
    assert [comment for _, comment in history(home)] == [stage.COMMENT, "first start"]
    assert len(first.passphrase) > 20
    assert first.passphrase not in repr(first)
    second = prepare(home)
    assert (second.new, second.passphrase) == (False, "")
    assert second.document == first.document


def test_a_port_that_moved_stays_where_it_is(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    moved = prepare(home, 2525)
    assert moved.moved == [("IncomingMail", 2525, 2526)]
    after = prepare(home)
    assert [listener["port"] for listener in after.document["listeners"]] == [2526, 2587]
    assert after.moved == []


def test_a_home_in_use_is_refused(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.initialise({})
    with (
        home.lock("gatepost start"),
        pytest.raises(OperatorError, match="in use by gatepost start") as caught,
    ):
        prepare(home)
    assert caught.value.code is Exit.TRY_AGAIN


def test_a_port_is_taken_while_somebody_listens_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert not stage.is_free("127.0.0.1", port)
    assert stage.is_free("127.0.0.1", port)
    assert stage.is_free("192.0.2.1", port)  # not ours: the gateway will say it better


def test_a_gateway_that_does_not_start_is_told_in_its_own_words(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.initialise(os.environ)
    with home.lock("somebody"), pytest.raises(OperatorError, match="in use by somebody") as caught:
        asyncio.run(GatewayProcess(home.root).start())
    assert caught.value.code is Exit.TRY_AGAIN


# --- lines ---------------------------------------------------------------------------------------------


@given(st.text(st.characters(min_codepoint=32, max_codepoint=0x24F), max_size=400), st.integers(0, 20))
def test_text_of_others_is_cut_to_the_screen_and_loses_nothing_but_blanks(text: str, indent: int) -> None:
    lines = chopped(text, first="> ", rest=" " * indent)
    assert all(len(line) <= COLUMNS for line in lines)
    told = lines[0][2:] + "".join(line[indent:] for line in lines[1:])
    assert told.replace(" ", "") == text.replace(" ", "")


def test_paragraphs_have_a_margin() -> None:
    lines: list[str] = []
    screen = Screen(lines.append)
    screen.row("Home", "word " * 30)
    screen.say()
    assert all(len(line) <= COLUMNS for line in lines)
    assert lines[0].startswith("Home      word")
    assert lines[1].startswith(" " * 10 + "word")
    assert lines[-1] == ""


def test_a_path_is_never_broken() -> None:
    path = "/" + "long-name/" * 12
    assert path in wrapped(f"Home {path}", first="  ")[1]
