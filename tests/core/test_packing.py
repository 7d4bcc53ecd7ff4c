"""Records between the hub and its database."""

from core.store.packing import packed, unpacked


def test_what_repeats_itself_is_kept_short() -> None:
    record = b'{"lines":[%s]}' % b",".join([b'{"title":"Where is it?","open":true}'] * 100)
    assert len(packed(record)) < len(record) / 10
    assert unpacked(packed(record)) == record


def test_what_an_earlier_hub_kept_as_it_is_comes_back() -> None:
    record = b'{"lines":"%s"}' % (b"x" * 1000)
    assert unpacked(record) == record
    assert unpacked(b"") == packed(b"") == b""
