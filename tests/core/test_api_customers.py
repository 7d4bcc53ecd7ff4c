"""Customers by id and by words, their timeline, the sources, over real HTTP."""

from pathlib import Path
from urllib.parse import quote

import orjson
import pytest

from core.hub.naming import process_name
from core.sdk import from_ms
from core.store import LedgerRow, RepairRow
from schemas.answers import Found, Ledger, Progress, Sources, SourceState, Timeline
from schemas.customer import Customer
from schemas.entities import Conversation, Message, Party, Person, Rating
from tests.fixtures_api import DANA, DAY, HOUR, OFFICE, Desk, desk_at, full


async def two_danas(desk: Desk) -> tuple[str, str]:
    """Ids of two customers; `merge` makes them one."""
    await desk.tell(desk.person("hubspot/contact/1", "Dana Reyes", DANA))
    desk.clock += 1_000
    await desk.tell(desk.person("intercom/contact/a", "Dana Reyes", "dana@example.com"))
    return await desk.id_of(phone=DANA), await desk.id_of(email="dana@example.com")


async def merge(desk: Desk) -> None:
    await desk.tell(desk.person("intercom/contact/a", "Dana Reyes", "dana@example.com", DANA))


async def test_any_former_id_leads_to_the_survivor_under_its_own_id(desk: Desk) -> None:
    first, second = await two_danas(desk)
    assert first != second
    await merge(desk)
    for id in (first, second):
        customer = await desk.get(f"/v1/customers/{id}")
        assert Customer.model_validate(customer).id == first
        assert {person["source"] for person in customer["people"]} == {"hubspot/acme", "intercom/acme"}


async def test_after_a_split_each_id_is_its_own_again(desk: Desk) -> None:
    first, second = await two_danas(desk)
    await merge(desk)
    await desk.tell(desk.person("intercom/contact/a", "Dana Reyes", "dana@example.com"))
    # The number is a former one of the second and joins until somebody else holds it: the first does.
    assert (await desk.get(f"/v1/customers/{first}"))["id"] == first
    assert (await desk.get(f"/v1/customers/{second}"))["id"] == second


async def test_an_unknown_id_is_a_problem_that_says_where_to_look(desk: Desk) -> None:
    problem = await desk.get("/v1/customers/nobody", 404)
    assert (problem["status"], problem["title"]) == (404, "Not Found")
    assert "/v1/lookup" in problem["remedy"]


async def test_nothing_new_is_not_sent_again(desk: Desk) -> None:
    id, _ = await two_danas(desk)
    path = f"{desk.url}/v1/customers/{id}"
    token = {"Authorization": f"Bearer {desk.token}"}
    async with desk.session.get(path, headers=token) as answer:
        tag = answer.headers["ETag"]
    async with desk.session.get(path, headers={**token, "If-None-Match": tag}) as answer:
        assert (answer.status, await answer.read()) == (304, b"")
    await desk.tell(desk.person("hubspot/contact/1", "Dana Maria Reyes", DANA))
    async with desk.session.get(path, headers={**token, "If-None-Match": tag}) as answer:
        assert answer.status == 200
        assert answer.headers["ETag"] != tag


@pytest.mark.parametrize(
    "words", ["dana", "REYES dan", "bakery", "dana@example.com", "+1 202 555 0143", "(202) 555-0143"]
)
async def test_a_customer_is_found_by_name_address_number_and_organization(desk: Desk, words: str) -> None:
    await desk.tell(
        desk.person("hubspot/contact/1", "Dana Reyes", DANA, "dana@example.com", organization="Example Bakery"),
        desk.person("hubspot/contact/2", "Max Weber", "max@example.com"),
        desk.ticket("intercom/conversation/1", "hubspot/contact/1", "Bag", waiting_since=desk.ago(HOUR)),
    )
    found = Found.model_validate(await desk.get(f"/v1/customers?q={quote(words)}"))
    (listed,) = found.customers
    assert (listed.name, listed.organization, listed.phone) == ("Dana Reyes", "Example Bakery", DANA)
    assert (listed.open, listed.ringing, listed.waiting_since) == (1, False, desk.ago(HOUR))


async def test_a_shared_number_is_listed_with_how_many_use_it(desk: Desk) -> None:
    names = ("Max Weber", "Noor Haddad", "Ben Ode")
    await desk.tell(
        *(desk.person(f"hubspot/contact/{n}", name, OFFICE, f"p{n}@example.com") for n, name in enumerate(names))
    )
    await desk.tell(desk.call("aircall/call/1", OFFICE, "missed"))
    found = Found.model_validate(await desk.get("/v1/customers"))
    assert {each.name: each.shared for each in found.customers} == {None: 3} | dict.fromkeys(names, 0)


async def test_pages_of_who_shares_a_number_bring_everybody_once(desk: Desk) -> None:
    people = {f"hubspot/contact/{n}": name for n, name in enumerate(("Max Weber", "Noor Haddad", "Ben Ode"))}
    for key, name in people.items():
        await desk.tell(desk.person(key, name, OFFICE, f"{key[-1]}@example.com"))
    await desk.tell(desk.person("hubspot/contact/9", "Dana Reyes", organization=OFFICE))  # has it as a word only
    path, seen, after = f"/v1/customers?limit=1&q={quote(OFFICE)}", [], ""
    while len(seen) < 9:
        page = await desk.get(path + after)
        seen += [each["name"] for each in page["customers"]]
        if not page["next"]:
            break
        after = f"&after={page['next']}"
    assert (len(seen), set(seen)) == (3, set(people.values()))
    first, *_ = (await desk.get(path))["customers"]
    await desk.tell(desk.gone(f"hubspot/contact/{list(people.values()).index(first['name'])}", Person))
    assert (await desk.get(f"{path}&after={first['id']}"))["customers"][0]["name"] in set(people.values()) - {
        first["name"]
    }
    assert (await desk.get(f"{path}&after=nobody"))["customers"] == []


async def test_pages_of_a_search_bring_everybody_once_the_newest_change_first(desk: Desk) -> None:
    for number in range(7):
        await desk.tell(
            desk.person(f"hubspot/contact/{number}", f"Dana {'ABCDEFG'[number]}x", f"d{number}@example.com")
        )
    names, after = [], ""
    while True:
        page = await desk.get(f"/v1/customers?q=dana&limit=3&after={after}")
        names += [each["name"] for each in page["customers"]]
        after = page["next"]
        if after is None:
            break
    assert names == [f"Dana {letter}x" for letter in "GFEDCBA"]


async def test_the_timeline_comes_in_pages_without_gap_or_double(desk: Desk) -> None:
    await desk.tell(
        desk.person("hubspot/contact/1", "Dana Reyes", DANA), desk.person("aircall/contact/1", "Dana Reyes", DANA)
    )
    await desk.tell(
        *(
            desk.ticket(f"intercom/conversation/{n}", "hubspot/contact/1", f"about {n}", at=desk.ago((n // 2) * HOUR))
            for n in range(9)
        ),
        desk.call("aircall/call/1", DANA, "missed", person="aircall/contact/1", at=desk.ago(DAY)),
    )
    id = await desk.id_of(phone=DANA)
    keys, cursor = [], ""
    while cursor is not None:
        page = await desk.get(f"/v1/customers/{id}/timeline?limit=3" + (f"&cursor={cursor}" if cursor else ""))
        assert Timeline.model_validate(page).customer == id
        keys += [entry["key"] for entry in page["entries"]]
        times = [entry["at"] for entry in page["entries"]]
        assert times == sorted(times, reverse=True)
        cursor = page["next"]
    assert len(keys) == len(set(keys)) == 10
    assert keys[-1] == "aircall/acme/call/1"


async def test_what_was_said_in_a_deleted_conversation_is_not_in_the_timeline_until_it_is_back(desk: Desk) -> None:
    talk, dana = "intercom/conversation/1", [Party(role="requester", person=full("hubspot/contact/1"))]
    said = Message(conversation=full(talk), body="My door code is 4711", at=desk.ago(HOUR), parties=dana)
    rated = Rating(subject=full(talk), score=1, comment="My door code was told", at=desk.ago(HOUR), parties=dana)
    await desk.tell(
        desk.person("hubspot/contact/1", "Dana Reyes", DANA),
        desk.ticket(talk, "hubspot/contact/1", "Bag"),
        desk.event("intercom/part/1", said),
        desk.event("intercom/rating/1", rated),
    )
    path = f"/v1/customers/{await desk.id_of(phone=DANA)}"
    for gone in (False, True, False):
        if gone:
            await desk.tell(desk.gone(talk, Conversation))
        else:
            await desk.tell(desk.ticket(talk, "hubspot/contact/1", "Bag"))
        shown = Timeline.model_validate(await desk.get(f"{path}/timeline"))
        wanted = [] if gone else ["conversation", "message", "rating"]
        assert sorted(entry.entity for entry in shown.entries) == wanted
        assert ("door code" in orjson.dumps(await desk.get(path)).decode()) is not gone


@pytest.mark.parametrize("query", ["cursor=%%%", "cursor=e30", "limit=0", "limit=101", "limit=x"])
async def test_a_wrong_page_of_the_timeline_is_a_problem(desk: Desk, query: str) -> None:
    id, _ = await two_danas(desk)
    problem = await desk.get(f"/v1/customers/{id}/timeline?{query}", 400)
    assert problem["remedy"]


async def test_the_sources_say_when_they_were_heard_and_what_to_do(desk: Desk) -> None:
    person = "hubspot/contact/1"
    await desk.tell(desk.person(person, "Dana Reyes", DANA), desk.task("hubspot/task/1", person, "Call back"))
    crm = {"connector": "hubspot", "account": "acme", "webhook": True, "last_poll": desk.clock - HOUR}
    crm |= {"refused": {"signature": 2}, "streams": {"contacts": {"complete_up_to": desk.clock - DAY}}}
    other = {"connector": "hubspot", "account": "acme", "last_poll": desk.clock - DAY, "refused": {"signature": 1}}
    phone = {
        "connector": "aircall",
        "account": "acme",
        "error": "401",
        "state": "unauthorized",
        "remedy": "hub check --live",
    }
    for connection, process, document in (
        ("crm", "a", crm),
        ("crm", "b", other),
        ("phone", "a", phone),
        ("kb", "a", {}),
    ):
        await desk.store.put_state(connection, process, orjson.dumps(document), desk.clock)
    answer = Sources.model_validate(await desk.get("/v1/sources"))
    found = {each.connection: each for each in answer.sources}
    assert (answer.kind, answer.customers, answer.version) == ("demo", 1, "1-1")
    assert (found["crm"].state, found["crm"].source, answer.titles["hubspot"]) == ("ok", "hubspot/acme", "HubSpot")
    assert (found["crm"].heard, found["crm"].refused) == (desk.ago(HOUR), {"signature": 3})
    assert found["crm"].complete_up_to == {"contacts": desk.ago(DAY)}
    assert found["crm"].objects["task"] == 1
    assert (found["phone"].state, found["phone"].remedy) == ("unauthorized", "hub check --live")
    assert (found["kb"].state, found["kb"].heard) == ("waiting", None)


async def test_a_process_that_is_gone_leaves_its_times_and_takes_its_trouble_with_it(desk: Desk) -> None:
    said = {"connector": "hubspot", "account": "acme"}
    old = said | {"error": "401", "remedy": "hub check --live", "refused": {"stale": 5}, "last_refusal": "old"}
    old |= {"last_delivery": desk.clock - HOUR, "streams": {"contacts": {"complete_up_to": desk.clock - HOUR}}}
    new = said | {"last_poll": desk.clock - DAY, "refused": {"stale": 1}}
    new |= {"streams": {"contacts": {"complete_up_to": desk.clock - DAY}}}

    async def shown(old_at: int) -> SourceState:
        await desk.store.put_state("crm", "old", orjson.dumps(old), old_at)
        await desk.store.put_state("crm", "new", orjson.dumps(new), desk.clock)
        return Sources.model_validate(await desk.get("/v1/sources")).sources[0]

    here = await shown(desk.clock - 120_000)
    assert (here.state, here.problem, here.refused, here.last_refusal) == ("down", "401", {"stale": 6}, "old")
    gone = await shown(desk.clock - 120_001)
    assert (gone.state, gone.problem, gone.remedy) == ("ok", None, None)
    assert (gone.refused, gone.last_refusal) == ({"stale": 1}, None)
    assert gone.heard == gone.last_delivery == gone.complete_up_to["contacts"] == desk.ago(HOUR)
    assert gone.last_poll == desk.ago(DAY)


async def test_two_processes_on_one_host_do_not_hide_each_others_trouble(desk: Desk, tmp_path: Path) -> None:
    roles, said = frozenset({"ingest"}), {"connector": "hubspot", "account": "acme", "last_poll": desk.clock}
    with process_name(tmp_path, roles) as polling, process_name(tmp_path, roles) as listening:
        broken = said | {"state": "unauthorized", "error": "401", "remedy": "hub check --live", "polls_here": True}
        await desk.store.put_state("crm", polling, orjson.dumps(broken), desk.clock)
        await desk.store.put_state("crm", listening, orjson.dumps(said), desk.clock + 1)
    (found,) = Sources.model_validate(await desk.get("/v1/sources")).sources
    assert (found.state, found.problem) == ("unauthorized", "401")


async def test_a_connection_that_nobody_reports_is_unattended_once_the_hub_had_time_to_begin(tmp_path: Path) -> None:
    began = 1_800_000_000_000
    async with desk_at(tmp_path, since=began) as desk:
        progress = {"way": "backfill", "fetched": 420, "total": 1_000, "per_second": 35.0, "seconds_left": 17}
        crm = {"connector": "hubspot", "account": "acme", "last_poll": began - 3 * DAY, "polls_here": True}
        crm |= {"streams": {"contacts": {"progress": progress}}, "error": "401", "state": "unauthorized"}

        async def shown(reported: int, now: int) -> SourceState:
            desk.clock = now
            await desk.store.put_state("crm", "a", orjson.dumps(crm), reported)
            (found,) = Sources.model_validate(await desk.get("/v1/sources")).sources
            return found

        assert (await shown(began - 3 * DAY, began + 120_000)).state == "unauthorized", "ingest may just be starting"
        late = await shown(began - 3 * DAY, began + 120_001)
        assert (late.state, late.broken_since) == ("unattended", desk.ago(3 * DAY + 120_001))
        assert late.problem and late.remedy and "hub run" in late.remedy
        assert late.heard == desk.ago(3 * DAY + 120_001) and late.streams["contacts"].progress is None
        assert (await shown(began + HOUR, began + HOUR + 120_000)).state == "unauthorized"
        assert (await shown(began + HOUR, began + HOUR + 120_001)).state == "unattended"


async def test_every_stream_says_how_far_it_is_and_what_webhooks_missed(desk: Desk) -> None:
    await desk.tell(desk.person("hubspot/contact/1", "Dana Reyes", DANA))
    running = {"way": "backfill", "fetched": 420, "total": 1_000, "per_second": 35.0, "seconds_left": 17}
    streams = {
        "contacts": {"complete_up_to": desk.clock - HOUR},
        "deals": {"complete_up_to": desk.clock - DAY},
        "all contact": {"complete_up_to": desk.clock - 3 * DAY, "listing": True},
    }
    crm = {"connector": "hubspot", "account": "acme", "polls_here": True, "streams": streams}
    await desk.store.put_state("crm", "a", orjson.dumps(crm), desk.clock)
    this, old = desk.clock // HOUR * HOUR, desk.clock // HOUR * HOUR - 25 * HOUR
    async with desk.store.writing() as writing:
        await writing.put_ledger(
            [
                LedgerRow("crm", this, "contacts", "sweep", 9, 3, 1, 2),
                LedgerRow("crm", this, "", "webhook", 7, 0, 0, 0),
                LedgerRow("crm", old, "contacts", "sweep", 90, 30, 10, 20),
            ],
            [RepairRow("crm", "hubspot/acme/contact/1", this, "contacts", "sweep", "newer")],
        )
    (found,) = Sources.model_validate(await desk.get("/v1/sources")).sources
    contacts = found.streams["contacts"]
    assert (contacts.received, contacts.missing, contacts.early, contacts.repaired) == (9, 3, 1, 2)
    assert (contacts.complete_up_to, contacts.progress) == (desk.ago(HOUR), None)
    assert found.counts["webhook"].received == 7 and found.complete_up_to.keys() == {"contacts", "deals"}

    id = await desk.id_of(phone=DANA)
    fresh = (await desk.get(f"/v1/customers/{id}"))["freshness"]["hubspot/acme"]
    # The slowest stream counts, no listing; of the ledger all ways of the last 24 hours.
    assert fresh == {
        "heard": None, "complete_up_to": desk.ago(DAY), "received": 16, "missing": 3, "repaired": 2,
        "as_of": desk.ago(0),
    }  # fmt: skip
    streams["deals"] = {"complete_up_to": None, "progress": running}
    await desk.store.put_state("crm", "a", orjson.dumps(crm), desk.clock)
    (found,) = Sources.model_validate(await desk.get("/v1/sources")).sources
    assert found.streams["deals"].progress == Progress.model_validate(running)
    fresh = (await desk.get(f"/v1/customers/{id}"))["freshness"]["hubspot/acme"]
    assert (fresh["complete_up_to"], fresh["backfill"]) == (
        None,
        {"fetched": 420, "total": 1_000, "seconds_left": 17},
    )
    # The slowest stream says when it is done; of one that cannot tell nobody knows.
    for left, told in ((90, 90), (5, 17), (None, None)):
        streams["contacts"]["progress"] = running | {"seconds_left": left}
        await desk.store.put_state("crm", "a", orjson.dumps(crm), desk.clock)
        fresh = (await desk.get(f"/v1/customers/{id}"))["freshness"]["hubspot/acme"]
        assert fresh["backfill"] == {"fetched": 840, "total": 2_000, "seconds_left": told}
    del streams["contacts"]["progress"]

    ledger = Ledger.model_validate(await desk.get("/v1/sources/crm/ledger?hours=48"))
    assert [(row.hour, row.way, row.repaired) for row in ledger.hours] == [
        (from_ms(this), "webhook", 0),
        (from_ms(this), "sweep", 2),
        (from_ms(old), "sweep", 20),
    ]
    assert [(each.key, each.found) for each in ledger.repaired] == [("hubspot/acme/contact/1", "newer")]
    assert (await desk.get("/v1/sources/nobody/ledger", 404))["remedy"]


async def test_a_deleted_person_is_gone_from_search(desk: Desk) -> None:
    await two_danas(desk)
    await desk.tell(desk.gone("hubspot/contact/1", Person))
    assert (await desk.get(f"/v1/customers?q={quote(DANA)}"))["customers"] == []
    assert [each["email"] for each in (await desk.get("/v1/customers?q=dana"))["customers"]] == ["dana@example.com"]


async def test_what_a_source_missed_stands_in_every_record_of_it_without_a_new_version(desk: Desk) -> None:
    await desk.tell(
        desk.person("hubspot/contact/1", "Dana Reyes", DANA), desk.person("guru/user/1", "Ben Ode", "ben@example.com")
    )
    for connection, vendor in (("crm", "hubspot"), ("crm too", "hubspot"), ("cards", "guru")):
        document = {"connector": vendor, "account": "acme"}
        await desk.store.put_state(connection, "a", orjson.dumps(document), desk.clock)

    async def counted(connection: str, missing: int, repaired: int) -> None:
        async with desk.store.writing() as writing:
            hour = desk.clock // HOUR * HOUR
            await writing.put_ledger([LedgerRow(connection, hour, "contacts", "sweep", 9, missing, 1, repaired)], [])

    async def told() -> tuple[dict[str, int], str]:
        record = (await desk.get(f"/v1/lookup?phone={quote(DANA)}"))["customer"]
        fresh = record["freshness"]["hubspot/acme"]
        return {name: fresh[name] for name in ("received", "missing", "repaired")}, record["version"]

    await counted("crm", 3, 2)
    await counted("crm too", 1, 1)
    await counted("cards", 100, 100)
    assert (await told())[0] == {"received": 18, "missing": 4, "repaired": 3}, "of both connections, and of no other"
    version = (await told())[1]
    await counted("crm", 5, 5)
    desk.clock += 6_000
    assert await told() == ({"received": 27, "missing": 9, "repaired": 8}, version)
    desk.clock += 25 * HOUR
    assert (await told())[0] == {"received": 0, "missing": 0, "repaired": 0}
