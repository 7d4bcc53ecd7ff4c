"""What every store promises, SQLite and PostgreSQL alike."""

from core.store import ActivityRow, CustomerRow, ObjectRow, PartyRow, PersonRow, Store


def person(key: str, *, customer: str = "", **changes: object) -> PersonRow:
    row = PersonRow(key, f"b-{key}", customer or f"b-{key}", None, 1, False, False, None, "Dana Reyes", b"{}")
    return row._replace(**changes)  # type: ignore[arg-type]


def customer(id: str, seq: int, **changes: object) -> CustomerRow:
    row = CustomerRow(id, seq, "live", None, b"h", b'{"a":1}', "Dana Reyes", b"[]", b"{}")
    return row._replace(**changes)  # type: ignore[arg-type]


def thing(key: str, entity: str = "conversation", **changes: object) -> ObjectRow:
    return ObjectRow(key, entity, None, b"{}", b'{"key":"' + key.encode() + b'"}')._replace(**changes)  # type: ignore[arg-type]


async def test_what_was_put_is_found_again(store: Store) -> None:
    async with store.writing() as tx:
        await tx.put_objects([thing("v/a/conversation/1")])
        await tx.put_persons([person("v/a/contact/1")])
        gone = await tx.put_parties(
            ["v/a/conversation/1"],
            [PartyRow("v/a/conversation/1", "v/a/contact/1", "requester", "conversation", "2026-01-01", True)],
        )
        await tx.put_customers([customer("b-v/a/contact/1", 1)], [("b-v/a/contact/1", "person")])
        await tx.set_seq(1)
    assert gone == []
    hub, changed = await store.changes(0, 10)
    assert (hub.generation, hub.seq, hub.kind) == (1, 1, "real")
    assert changed == [customer("b-v/a/contact/1", 1)]
    assert await store.timeline(["v/a/contact/1"], None, 10) == [
        ActivityRow(
            "v/a/contact/1", "v/a/conversation/1", "requester", "conversation", "2026-01-01", True,
            b'{"key":"v/a/conversation/1"}',
        )
    ]  # fmt: skip
    assert await store.search("rey DAN", 10) == changed
