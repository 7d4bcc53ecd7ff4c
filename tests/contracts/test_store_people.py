"""What every store promises of objects, parties, persons, evidence and customers."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.store import ActivityRow, EvidenceRow, ObjectRow, PartyRow, Store
from tests.contracts.store_rows import customer, party, person, thing

ROLES = ("requester", "caller", "callee", "author", "recipient", "collaborator", "cc", "follower")


async def test_objects_are_replaced_whole(store: Store) -> None:
    async with store.writing() as tx:
        await tx.put_objects([thing("v/a/call/1", parent="v/a/call/0"), thing("v/a/call/2", card=None)])
        await tx.put_objects([thing("v/a/call/1", registers=b"new")])
        assert await tx.objects(["v/a/call/1", "v/a/call/2", "?"]) == {"v/a/call/1": b"new", "v/a/call/2": b"\0\xff"}
    assert await store.object("v/a/call/1") == thing("v/a/call/1", registers=b"new")
    assert await store.objects_by_key(["v/a/call/2"]) == [thing("v/a/call/2", card=None)]
    assert await store.object("?") is None


async def test_counts_are_of_live_objects(store: Store) -> None:
    assert await store.counts() == {("", "customer"): 0}
    async with store.writing() as tx:
        await tx.put_objects([thing(f"v/a%2Fb/call/{n}", "call") for n in range(5)] + [thing("w/x/deal/1", "deal")])
        await tx.put_objects([thing("v/a%2Fb/call/0", "call", card=None), thing("w/x/deal/1", "deal")])
        await tx.put_customers([customer("a", 1), customer("b", 2), customer("c", 3, status="merged", into="a")])
        await tx.put_customers([customer("b", 4, status="erased")])
    assert await store.counts() == {("v/a%2Fb", "call"): 4, ("w/x", "deal"): 1, ("", "customer"): 1}


async def test_parties_of_an_object_are_replaced_whole(store: Store) -> None:
    async with store.writing() as tx:
        assert await tx.put_parties(["o", "x"], [party("o", "p"), party("o", "q", role="cc"), party("x", "p")]) == []
        await tx.put_objects([thing("o"), thing("x")])
        removed = await tx.put_parties(["o"], [party("o", "q", role="caller", open=True), party("o", "r")])
        assert removed == [("o", "p")]
        rows = await tx.activities(["p", "q", "r"], 9, 9)
        assert {(row.object, row.person, row.role, row.open) for row in rows} == {
            ("o", "q", "caller", True), ("o", "r", "requester", False), ("x", "p", "requester", False),
        }  # fmt: skip
        assert sorted(await tx.put_parties(["o", "x"], [])) == [("o", "q"), ("o", "r"), ("x", "p")]
        assert await tx.activities(["p", "q", "r"], 9, 9) == []


async def test_who_has_two_roles_appears_once_with_the_one_that_counts(store: Store) -> None:
    async with store.writing() as tx:
        await tx.put_objects([thing("o")])
        await tx.put_parties(["o"], [party("o", "p", role=role) for role in reversed(ROLES)])
        assert [row.role for row in await tx.activities(["p"], 5, 5)] == ["requester"]
        await tx.put_parties(["o"], [party("o", "p", role=role) for role in ("cc", "strange", "callee")])
        assert [row.role for row in await tx.activities(["p"], 5, 5)] == ["callee"]
    assert [row.role for row in await store.timeline(["p"], None, 5)] == ["callee"]


async def test_a_deleted_activity_leaves_and_comes_back(store: Store) -> None:
    async with store.writing() as tx:
        await tx.put_objects([thing("o")])
        await tx.put_parties(["o"], [party("o", "p", open=True)])
        await tx.put_objects([thing("o", card=None)])
        assert await tx.activities(["p"], 5, 5) == []
        await tx.put_parties(["o"], [party("o", "p", at="2027")])
        assert await tx.activities(["p"], 5, 5) == []
        await tx.put_objects([thing("o")])
        assert [row.at for row in await tx.activities(["p"], 5, 5)] == ["2027"]


@pytest.mark.parametrize("read", [False, True], ids=["blindly", "knowing what was there"])
async def test_parts_of_a_conversation_are_shown_while_it_is_not_gone(store: Store, read: bool) -> None:
    whole, rest = thing("w"), [thing("x", "call", card=None), thing("p1", "message", parent="w")]
    parts = [thing("p2", "rating", parent="w"), thing("p3", "rating", parent="x"), thing("p4", "message", parent="?")]

    async def put(*rows: ObjectRow) -> list[str]:
        async with store.writing() as tx:
            if read:
                await tx.objects([row.key for row in rows])
            await tx.put_objects(rows)
            await tx.put_parties([row.key for row in rows], [party(row.key, "p", entity=row.entity) for row in rows])
        async with store.writing() as tx:
            found = await tx.activities(["p"], 9, 0)
            assert await tx.unnamed(["p"]) == set()
            assert await tx.entities(["p"]) == {"p": {row.entity for row in found}}
        assert [row.object for row in await store.timeline(["p"], None, 9)] == [row.object for row in found]
        return sorted(row.object for row in found)

    assert await put(*rest, *parts) == ["p1", "p2", "p3", "p4"], "of what was never heard of, and of a call"
    assert await put(whole._replace(card=None)) == ["p3", "p4"]
    assert await put(thing("p5", "message", parent="w")) == ["p3", "p4"], "what comes late as well"
    assert await put(parts[2]._replace(parent="w")) == ["p3"]
    assert await put(whole) == ["p1", "p2", "p3", "p4", "p5", "w"]
    assert await put(parts[0]._replace(card=None)) == ["p1", "p3", "p4", "p5", "w"]
    assert await put(whole._replace(card=None)) == ["p3"]
    assert await put(whole._replace(card=None, parent="v")) == ["p1", "p3", "p4", "p5"], "merged is not gone"
    assert await put(whole._replace(card=None)) == ["p3"]
    async with store.writing() as tx:
        assert await tx.children(["w", "x", "v"]) == dict.fromkeys(["p1", "p2", "p4", "p5"], "w") | {"p3": "x"}
        await tx.drop_objects(["w"])
        assert [row.object for row in await tx.activities(["p"], 9, 0)] == ["p5", "p4", "p3", "p1"]


def expected(things: list[ObjectRow], parties: list[PartyRow], who: str, recent: int, open_: int) -> set[ActivityRow]:
    last = {row.key: row for row in things}
    gone = {row.key for row in last.values() if row.card is None and row.parent is None}
    cards = {row.key: row.card for row in last.values() if row.card is not None and row.parent not in gone}
    best: dict[str, PartyRow] = {}
    for row in sorted(parties, key=lambda row: ROLES.index(row.role)):
        if row.person == who and row.object in cards:
            best.setdefault(row.object, row)
    newest = sorted(best.values(), key=lambda row: (row.at, row.object), reverse=True)
    oldest = [row for row in reversed(newest) if row.open]
    return {
        ActivityRow(who, row.object, row.role, row.entity, row.at, row.open, cards[row.object] or b"")
        for row in newest[:recent] + oldest[:open_]
    }


PEOPLE = ("p", "q", "r")
KEYS = [f"v/a/call/{n}" for n in range(8)]
THINGS = st.lists(
    st.builds(
        thing, st.sampled_from(KEYS), card=st.sampled_from([b"card", None]), parent=st.sampled_from([None, *KEYS[:3]])
    ),
    unique_by=lambda o: o.key,
)
PARTIES = st.lists(
    st.builds(
        party, st.sampled_from(KEYS), st.sampled_from(PEOPLE), st.sampled_from(["2026-01", "2026-02", "2026-03"]),
        role=st.sampled_from(ROLES), open=st.booleans(),
    ),
    unique_by=lambda row: row[:3], max_size=24,
)  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    things=THINGS, later=THINGS, parties=PARTIES, recent=st.integers(0, 4), open_=st.integers(0, 3),
    objects_first=st.booleans(),
)  # fmt: skip
async def test_activities_are_what_a_look_at_everything_would_find(
    store: Store, things: list[ObjectRow], later: list[ObjectRow], parties: list[PartyRow], recent: int, open_: int,
    objects_first: bool,
) -> None:  # fmt: skip
    with pytest.raises(asyncio.InvalidStateError):  # leaves the store empty for the next example
        async with store.writing() as tx:
            if objects_first:
                await tx.objects([row.key for row in things])  # so that it knows what was not there
                await tx.put_objects(things)
            await tx.put_parties(KEYS, parties)
            if not objects_first:
                await tx.put_objects(things)
            await tx.put_objects(later)
            rows = await tx.activities(PEOPLE, recent, open_)
            assert len(rows) == len(set(rows))
            assert set(rows) == set().union(*(expected(things + later, parties, who, recent, open_) for who in PEOPLE))
            assert rows == sorted(rows, key=lambda row: (row.at, row.object), reverse=True)
            raise asyncio.InvalidStateError


async def test_persons_are_found_by_key_customer_and_alias(store: Store) -> None:
    rows = [
        person("a", staff=True, departed=True, state=None, first=2**62),
        person("b", customer="birth-a", implied="phone:+12025550143"),
        person("c", alias_of="a", names="Dana Reyes\nD. Reyes"),
    ]
    async with store.writing() as tx:
        await tx.put_persons(rows)
        assert sorted(await tx.persons(["a", "b", "c", "d"])) == rows
        assert sorted(await tx.persons_of(["birth-a"])) == rows[:2]
        assert await tx.aliases_to(["a", "b"]) == rows[2:]
        await tx.set_customers([("a", "birth-c"), ("b", "birth-c")])
        assert await tx.persons_of(["birth-a"]) == []
    moved = [row._replace(customer="birth-c") for row in rows]
    assert sorted(await store.persons_by_key(["a", "b", "c"])) == moved
    assert sorted(await store.person_keys("birth-c")) == moved


async def test_persons_whom_no_live_activity_names_can_be_taken_out(store: Store) -> None:
    async with store.writing() as tx:
        await tx.put_persons([person(key) for key in ("p", "q", "r")])
        await tx.put_objects([thing("o"), thing("x", card=None)])
        await tx.put_parties(["o", "x"], [party("o", "p"), party("x", "p"), party("x", "q")])
        assert await tx.unnamed(["p", "q", "r", "unknown"]) == {"q", "r", "unknown"}
        await tx.drop_persons(["q", "r", "unknown"])
        assert await tx.persons(["p", "q", "r"]) == [person("p")]


async def test_evidence_of_a_person_is_replaced_whole(store: Store) -> None:
    def row(who: str, identifier: str, class_: str = "recorded") -> EvidenceRow:
        return EvidenceRow(who, identifier, class_, class_ == "claimed")

    async with store.writing() as tx:
        await tx.put_evidence(["p", "q"], [row("p", "email:a"), row("p", "phone:1"), row("q", "email:a")])
        await tx.put_evidence(["p", "r"], [row("p", "phone:1", "claimed"), row("p", "phone:2")])
        assert sorted(await tx.evidence(["p", "q", "r"])) == [
            row("p", "phone:1", "claimed"), row("p", "phone:2"), row("q", "email:a"),
        ]  # fmt: skip
        await tx.put_evidence(["p"], [])
        assert await tx.evidence(["p"]) == []


async def test_holders_are_counted_up_to_what_is_asked(store: Store) -> None:
    async with store.writing() as tx:
        people = [f"p{n:03}" for n in range(250)]
        await tx.put_persons([person(key) for key in people] + [person("z", implied="phone:1")])
        await tx.put_evidence(people, [EvidenceRow(key, "phone:1", "recorded", False) for key in people])
        await tx.put_evidence(["p001"], [EvidenceRow("p001", "email:a", "proved", True)])
        found = await tx.holders(["phone:1", "email:a", "email:b"], 20)
    assert found == {"phone:1": ["p000", *people[2:22]], "email:a": ["p001"], "email:b": []}
    assert len(await store.by_identifier("phone:1")) == 200
    assert await store.by_identifier("email:a") == [person("p001")]
    assert await store.by_identifier("email:b") == []


async def test_an_implied_person_holds_their_identifier(store: Store) -> None:
    async with store.writing() as tx:
        await tx.put_persons([person("z", implied="phone:1"), person("a")])
        await tx.put_evidence(["a"], [EvidenceRow("a", "phone:1", "recorded", False)])
        assert await tx.holders(["phone:1"], 20) == {"phone:1": ["a", "z"]}
    assert {row.key for row in await store.by_identifier("phone:1")} == {"a", "z"}


async def test_heads_tell_what_process_needs(store: Store) -> None:
    async with store.writing() as tx:
        await tx.put_customers([customer("a", 1, identity=b"\0x"), customer("b", 2, status="merged", into="a")])
        assert await tx.heads(["a", "b", "c"]) == {
            "a": ("a", 1, "live", b"\0h", b"\0x"),
            "b": ("b", 2, "merged", b"\0h", b"{}"),
        }


async def test_any_birth_id_leads_to_the_present_customer(store: Store) -> None:
    async with store.writing() as tx:
        await tx.put_persons([person("a"), person("b"), person("c")])
        await tx.put_customers([customer("birth-a", 1), customer("birth-b", 2), customer("birth-c", 3)])
        await tx.set_customers([("b", "birth-a")])
        await tx.put_customers([customer("birth-a", 4), customer("birth-b", 5, status="merged", into="birth-a")])
    assert await store.customer("birth-b") == customer("birth-a", 4)
    assert await store.customer("birth-c") == customer("birth-c", 3)
    assert await store.customer("nobody") is None
    assert {row.id: row.into for row in await store.customers_by_id(["birth-a", "birth-b", "x"])} == {
        "birth-a": None, "birth-b": "birth-a",
    }  # fmt: skip
    async with store.writing() as tx:
        await tx.set_customers([("b", "birth-b")])
        await tx.put_customers([customer("birth-b", 6)])
    assert await store.customer("birth-b") == customer("birth-b", 6)


async def test_an_erased_customer_without_person_is_still_answered(store: Store) -> None:
    async with store.writing() as tx:
        await tx.put_customers([customer("gone", 1, status="erased", record=b"")])
    assert await store.customer("gone") == customer("gone", 1, status="erased", record=b"")
