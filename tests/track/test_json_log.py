"""JSON lines: the blob of a commit as it is, and no second time after a crash."""

from __future__ import annotations

from pathlib import Path

from gatepost.core.codec import decode_events, encode_events
from gatepost.core.delivery_events import MessageFinished
from gatepost.core.events import ConnectionClosed, MessageQueued, Warned
from gatepost.track.json_log import JsonLogFormat, JsonLogSink, not_yet_logged
from gatepost.track.log_files import LogFile

NOW = 1_700_000_000.0


class Clock:
    def now(self) -> float:
        return NOW

    def monotonic(self) -> float:
        return NOW


def sink(tmp_path: Path, limit: int = 0) -> JsonLogSink:
    return JsonLogSink(LogFile(tmp_path, "events.jsonl", JsonLogFormat(), Clock(), limit=limit))


def blob(mid: int) -> bytes:
    return encode_events([MessageQueued(NOW, mid), MessageFinished(NOW, mid)])


def test_a_blob_is_written_as_it_is_and_other_events_are_encoded(tmp_path: Path) -> None:
    log = sink(tmp_path)
    odd = b'{"event":"MessageQueued","at":1.0,"mid":1,"later":"field"}\n'
    assert log.add([(decode_events(odd), odd)]) == len(odd)
    log.add([([ConnectionClosed(NOW, 5)], b"")])
    log.flush()
    log.close()
    written = (tmp_path / "events.jsonl").read_bytes()
    assert written == odd + encode_events([ConnectionClosed(NOW, 5)])


def test_a_loss_is_an_event() -> None:
    (event,) = decode_events(JsonLogFormat().loss(NOW, 2, "disk full"))
    assert event == Warned(NOW, "Log lines of 2 writes were lost: disk full")


def test_only_what_is_not_in_the_files_is_replayed(tmp_path: Path) -> None:
    log = sink(tmp_path, limit=400)
    for mid in range(1, 11):
        log.add([((), blob(mid))])
        log.flush()  # rotates on its way
    log.close()
    with (tmp_path / "events.jsonl").open("ab") as file:
        file.write(blob(11)[:-20])  # torn by a crash
    left = [blob(mid) for mid in range(3, 14)]
    second = blob(11).splitlines(keepends=True)[1]
    assert not_yet_logged(tmp_path, "events.jsonl", left) == [second, blob(12), blob(13)]


def test_without_files_everything_is_replayed(tmp_path: Path) -> None:
    assert not_yet_logged(tmp_path, "events.jsonl", [blob(1)]) == [blob(1)]


def test_of_a_blob_that_is_there_in_part_the_rest_is_replayed(tmp_path: Path) -> None:
    """Changes of one commit reach the log one by one, so a crash may leave the first of them there alone."""
    log = sink(tmp_path)
    log.add([((), blob(1))])
    log.flush()
    log.close()
    half = blob(3).splitlines(keepends=True)
    with (tmp_path / "events.jsonl").open("ab") as file:
        file.write(half[0])
    left = [blob(1) + blob(2), blob(3)]
    assert not_yet_logged(tmp_path, "events.jsonl", left) == [blob(2), half[1]]


def test_a_torn_line_at_the_end_does_not_swallow_the_next_one(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_bytes(blob(1) + b'{"event":"Torn')
    log = sink(tmp_path)
    log.add([((), blob(2))])
    log.flush()
    log.close()
    assert (tmp_path / "events.jsonl").read_bytes() == blob(1) + b'{"event":"Torn\n' + blob(2)
