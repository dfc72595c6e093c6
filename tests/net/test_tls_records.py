from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gatepost.net.tls_records import HEADER, MAX_RECORD, record_size, whole_records

records = st.lists(
    st.tuples(st.sampled_from(range(20, 25)), st.integers(0, 3000)).map(
        lambda pair: bytes((pair[0], 3, 3)) + pair[1].to_bytes(2, "big") + bytes(pair[1])
    ),
    max_size=6,
)


@given(records, st.integers(0, 4000), st.integers(0, 9000))
def test_whole_records_end_where_records_end(made: list[bytes], cut: int, limit: int) -> None:
    octets = b"".join(made)[:cut] if cut < sum(map(len, made)) else b"".join(made)
    end, count = whole_records(memoryview(octets), 0, limit)
    assert end == sum(map(len, made[:count]))
    assert end <= len(octets)
    # As many as fit, but one in any case.
    if count < len(made) and end + len(made[count]) <= len(octets):
        assert count
        assert end + len(made[count]) > limit


def test_headers_that_cannot_be_one() -> None:
    assert record_size(b"MAIL ", 0) == -1
    assert record_size(b"M", 0) == -1
    assert record_size(b"\x17\x03\x03\xff\xff", 0) == -1
    assert record_size(b"\x17\x03\x03", 0) == 0
    assert record_size(b"", 0) == 0
    assert record_size(b"xx\x16\x03\x03\x00\x04", 2) == HEADER + 4
    largest = MAX_RECORD - HEADER
    assert record_size(b"\x17\x03\x03" + largest.to_bytes(2, "big"), 0) == MAX_RECORD
