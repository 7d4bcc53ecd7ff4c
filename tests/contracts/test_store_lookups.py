"""What every store promises of look-ups: search, articles, timeline, the feed's reads, letters, tokens."""

import asyncio
import re
import unicodedata

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.store import CustomerRow, Store
from tests.contracts.store_rows import customer, dead, party, person, thing, token

FAST = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


async def put(store: Store, rows: list[CustomerRow]) -> None:
    async with store.writing() as tx:
        await tx.put_customers(rows)


def ids(rows: list[CustomerRow]) -> list[str]:
    return [row.id for row in rows]


@pytest.mark.parametrize(
    "words",
    ["dana", "DAN", "rey dan", "réyes", "Reyes", "12025550143", "+1202555", "+1 (202) 555-0143", "dana.r@example.com",
     "example", "  dana  ", "Straße", "strasse", "O'Brien", "北京"],
)  # fmt: skip
async def test_a_customer_is_found_by_the_beginning_of_any_word(store: Store, words: str) -> None:
    mine = "Dana Réyes dana.r@example.com +12025550143 Strasse O'Brien 北京市"
    await put(store, [customer("a", 1, mine), customer("b", 2, "Ben Ode ben@shop.org +442079460123")])
    assert ids(await store.search(words, 10)) == ["a"]


@pytest.mark.parametrize(
    "words",
    ['"', "''", "dana OR ben", "dana AND", "NEAR(dana ben)", "words:dana", "customer_index:x", "dana*b", "- -", "a:*",
     "dana' | 'ben", "dana & !ben", "\\", "'; DROP TABLE customer; --", "%", "dana\x00ben", "^dana ben", "{dana} ben"],
)  # fmt: skip
async def test_signs_and_operators_in_a_search_are_harmless(store: Store, words: str) -> None:
    await put(store, [customer("a", 1, "Dana"), customer("b", 2, "Ben")])
    assert await store.search(words, 10) == []
    assert await store.articles([words], 10) == []
    assert ids(await store.search("dana", 10)) == ["a"]


async def test_the_newest_change_comes_first_page_by_page(store: Store) -> None:
    await put(store, [customer(f"c{n:02}", n, f"Dana {n % 3}") for n in range(1, 31)])
    await put(store, [customer("c05", 31, "Dana 2")])
    for words, count in (("", 30), ("dana", 30), ("dana 2", 10)):
        found: list[str] = []
        while page := await store.search(words, 7, found[-1] if found else ""):
            found += ids(page)
        assert found[0] == "c05" and len(found) == len(set(found)) == count
        assert found[1:] == sorted(found[1:], reverse=True)
    assert await store.search("", 7, after="nobody") == [] == await store.search("dana", 7, after="nobody")


async def test_only_live_customers_are_found_and_by_their_present_words(store: Store) -> None:
    await put(store, [customer("a", 1, "Dana"), customer("b", 2, "Dana"), customer("c", 3, "Dana")])
    await put(store, [customer("a", 4, "Dinah"), customer("b", 5, "Dana", status="merged", into="a")])
    assert ids(await store.search("dana", 9)) == ["c"]
    assert ids(await store.search("", 9)) == ["a", "c"]
    await put(store, [customer("b", 6, "Dana"), customer("c", 7, "Dana", status="erased")])
    assert ids(await store.search("dana", 9)) == ["b"]
    assert ids(await store.search("dinah", 9)) == ["a"]


def simple_words(text: str) -> list[str]:
    plain = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    return re.findall(r"[^\W_]+", plain)


WORD = st.text("abcé-Ω1@'", min_size=1, max_size=5)
TEXT = st.lists(WORD, max_size=4).map(" ".join)


@FAST
@given(texts=st.lists(TEXT, max_size=8), query=TEXT)
async def test_a_search_finds_what_a_look_at_every_text_would(store: Store, texts: list[str], query: str) -> None:
    rows = [customer(f"c{n}", n, text) for n, text in enumerate(texts, 1)]
    first = max((row.seq for row in (await store.changes(0, 1_000))[1]), default=0) + 1
    old = await store.search("", 1_000)
    await put(store, [row._replace(seq=n, status="erased") for n, row in enumerate(old, first)])
    rows = [row._replace(seq=row.seq + first + 1_000) for row in rows]
    await put(store, rows)
    wanted = simple_words(query)
    found = [
        row.id for row in reversed(rows) if all(any(w.startswith(q) for w in simple_words(row.search)) for q in wanted)
    ]
    assert ids(await store.search(query, 100)) == ([] if query.strip() and not wanted else found)


async def test_articles_with_any_of_the_words_come_best_first(store: Store) -> None:
    def article(n: int, text: str | None, *, verified: bool = False, gone: bool = False):  # type: ignore[no-untyped-def]
        card = None if gone else b'{"verified":%s}' % (b"true" if verified else b"false")
        return thing(f"guru/x/card/{n}", "article", text=text, card=card)

    async with store.writing() as tx:
        await tx.put_objects(
            [
                article(1, "Missing parcel: refund or resend"),
                article(2, "Opening hours"),
                article(3, "Parcels that go missing", verified=True),
                article(4, "Réfund", verified=True),
                article(5, "Réfund"),
                article(6, None, gone=True),
            ]
        )
    assert await store.verified_articles() == 2
    assert (await store.articles(["missing parcel refund"], 9))[0].key.endswith("/1")
    assert {row.key[-1] for row in await store.articles(["missing", "hours"], 9)} == {"1", "2", "3"}
    assert (await store.articles(["refund"], 2))[0].key.endswith("/4")
    assert {row.key[-1] for row in await store.articles(["refund"], 9)} == {"1", "4", "5"}
    assert await store.articles(["nothing"], 9) == [] == await store.articles([], 9)
    async with store.writing() as tx:
        await tx.put_objects([article(4, None, gone=True), article(5, "Resend")])
    assert [row.key[-1] for row in await store.articles(["refund"], 9)] == ["1"]
    assert {row.key[-1] for row in await store.articles(["resend"], 9)} == {"1", "5"}
    assert await store.verified_articles() == 1


PARTIES = st.lists(
    st.builds(
        party, st.sampled_from([f"v/a/call/{n}" for n in range(9)]), st.sampled_from(["p", "q", "r"]),
    ),
    unique_by=lambda row: row[:2], min_size=1, max_size=18,
)  # fmt: skip


@FAST
@given(parties=PARTIES, limit=st.integers(1, 4))
async def test_a_timeline_read_page_by_page_misses_and_repeats_nothing(store: Store, parties: list, limit: int) -> None:  # type: ignore[type-arg]
    parties = [row._replace(at=f"2026-0{int(row.object[-1]) // 3 + 1}") for row in parties]
    keys = [f"v/a/call/{n}" for n in range(9)]
    async with store.writing() as tx:
        await tx.put_objects([thing(key) for key in keys])
        await tx.put_parties(keys, parties)
    found: list[tuple[str, str]] = []
    while page := await store.timeline(["p", "q"], found[-1] if found else None, limit):
        assert len(page) <= limit
        found += [(row.at, row.object) for row in page]
    assert found == sorted({(row.at, row.object) for row in parties if row.person in ("p", "q")}, reverse=True)


async def test_changes_come_in_order_with_the_hub_of_the_same_moment(store: Store) -> None:
    assert (await store.changes(0, 10))[1] == []
    async with store.writing() as tx:
        await tx.put_customers([customer(f"c{n}", n) for n in (3, 1, 4, 2, 5)], [("c3", "call", 3), ("c4", "deal", 4)])
        await tx.set_seq(5)
    hub, rows = await store.changes(1, 3)
    assert hub.seq == 5 and [row.seq for row in rows] == [2, 3, 4]
    assert [row.seq for row in (await store.changes(0, 10, at_most=2))[1]] == [1, 2]
    assert await store.parts({"c3": 3, "c4": 4, "c5": 5}, 0) == {"c3": {"call"}, "c4": {"deal"}}
    assert await store.parts({"c3": 3, "c4": 4}, 3) == {"c4": {"deal"}}
    async with store.writing() as tx:
        await tx.put_customers([customer("c3", 6)], [("c3", "deal", 6)])
        assert await tx.parts(["c3", "c4", "c5"]) == {"c3": {"call", "deal"}, "c4": {"deal"}}
    assert await store.parts({"c3": 6}, 3) == {"c3": {"deal"}}
    assert await store.parts({"c3": 5}, 3) == {}  # as who read c3 before it changed again asks


async def test_who_is_on_the_phone_comes_in_order_however_much_has_changed_since(store: Store) -> None:
    async with store.writing() as tx:
        await tx.put_customers([customer(f"c{n}", n) for n in range(1, 9)])
        await tx.put_persons([person(f"p{n}", customer=f"c{n % 8}") for n in range(1, 17)])  # two of each
        rows = [party(f"call/{n}", f"p{n}", open=n < 16)._replace(entity="call") for n in (5, 2, 10, 3, 7, 16)]
        other = party("conversation/1", "p4", open=True)
        await tx.put_parties([row.object for row in (*rows, other)], [*rows, other])
        await tx.set_seq(8)
    hub, found = await store.on_the_phone(0, 3, 8)
    assert (hub.seq, ids(found)) == (8, ["c2", "c3", "c5"])
    assert ids((await store.on_the_phone(5, 3, 8))[1]) == ["c7"]
    assert (await store.on_the_phone(5, 3, 6))[1] == []
    async with store.writing() as tx:
        await tx.put_parties([row.object for row in rows], [row._replace(open=False) for row in rows])
    assert (await store.on_the_phone(0, 3, 8))[1] == []


async def test_letters_come_newest_first_page_by_page(store: Store) -> None:
    letters = [dead(f"d{n:02}", at=n // 2) for n in range(9)]
    async with store.writing() as tx:
        await tx.put_dead([*letters, dead("x")])
    await store.set_dead(["x"], "replayed")
    found = []
    while page := await store.dead("open", 4, found[-1].id if found else ""):
        found += page
    assert found == letters[::-1]
    assert [row.id for row in await store.dead("replayed", 4)] == ["x"]
    assert await store.dead("open", 4, "nothing") == []


async def test_tokens_are_found_by_hash_and_login_links_work_once(store: Store) -> None:
    desk, login = token(b"\0\x01"), token(b"\x02", kind="login", name="", expires=5_000)
    for row in (desk, desk, login):
        await store.put_token(row)
    assert [await store.token(b"\0\x01"), await store.token(b"?")] == [desk, None]
    assert await store.tokens("token") == [desk]
    taken = await asyncio.gather(*(store.take_token(b"\x02") for _ in range(5)))
    assert sorted(taken, key=bool) == [None] * 4 + [login]
    assert [await store.drop_token("desk"), await store.drop_token("desk")] == [1, 0]
    assert await store.tokens("token") == []


async def test_a_token_is_dropped_by_name_without_the_sessions_and_logins_of_that_name(store: Store) -> None:
    session = token(b"\x01", kind="session", name="page")
    login = token(b"\x02", kind="login", name="page")
    for row in (session, login):
        await store.put_token(row)
    assert await store.drop_token("page") == 0
    await store.put_token(token(b"\x03", name="page"))
    assert await store.drop_token("page") == 1
    assert [await store.token(b"\x01"), await store.token(b"\x02")] == [session, login]


async def test_tokens_that_are_over_do_not_pile_up(store: Store) -> None:
    await store.put_token(token(b"1", kind="session", expires=5_000))
    await store.put_token(token(b"2", kind="session", created=5_001, expires=9_000))
    assert await store.token(b"1") is None
    assert [row.hash for row in await store.tokens("session")] == [b"2"]


async def test_the_state_of_a_connection_is_kept_per_process(store: Store) -> None:
    await store.put_state("help", "p1", b"\0old", 1)
    await store.put_state("help", "p2", b"other", 2)
    await store.put_state("help", "p1", b"\0new", 3)
    assert await store.states() == [("help", "p1", b"\0new", 3), ("help", "p2", b"other", 2)]


async def test_what_processes_said_that_are_gone_is_forgotten_but_not_the_last_word_of_a_connection(
    store: Store,
) -> None:
    for connection, process, at in (("help", "p1", 1), ("help", "p2", 5), ("help", "p3", 9), ("crm", "p1", 1)):
        await store.put_state(connection, process, b"{}", at)
    await store.trim_states(5)
    assert [row[:2] for row in await store.states()] == [("crm", "p1"), ("help", "p2"), ("help", "p3")]
    await store.trim_states(100)
    assert [row[:2] for row in await store.states()] == [("crm", "p1"), ("help", "p3")]


async def test_the_last_word_of_each_account_that_a_name_stood_for_is_kept(store: Store) -> None:
    for at, account in enumerate(["old", "old", "new", None, "new", None], 1):
        document = orjson.dumps({"connector": "desk", "account": account})
        await store.put_state("help", f"p{at}", document, at)
    await store.put_state("crm", "p1", b'{"connector": "desk", "account": "new"}', 1)
    await store.trim_states(100)
    assert [row[:2] for row in await store.states()] == [("crm", "p1"), ("help", "p2"), ("help", "p5"), ("help", "p6")]
