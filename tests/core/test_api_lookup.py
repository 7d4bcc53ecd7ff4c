"""Who is behind an identifier, over real HTTP: one, candidates or none, never a guess."""

from urllib.parse import quote

import orjson
import pytest

from schemas.answers import Lookup
from schemas.entities import Identifier, Person
from tests.fixtures_api import DANA, DAY, HOUR, OFFICE, Desk, full, ref

NOTHING_CAME = {"received": 0, "missing": 0, "repaired": 0}


async def dana(desk: Desk) -> None:
    await desk.tell(
        desk.person("hubspot/contact/1", "Dana Reyes", DANA, "dana@example.com", organization="Example Bakery"),
        desk.person("intercom/contact/a", "Dana Reyes", "dana@example.com"),
        desk.ticket(
            "intercom/conversation/7", "intercom/contact/a", "Bag never arrived", waiting_since=desk.ago(2 * DAY)
        ),
    )


async def office(desk: Desk) -> None:
    people = ("Max Weber", "Noor Haddad", "Ben Ode")
    await desk.tell(
        *(
            desk.person(f"hubspot/contact/{n}", name, OFFICE, f"p{n}@example.com", organization="Example Bakery")
            for n, name in enumerate(people)
        )
    )


@pytest.mark.parametrize(
    "query",
    [
        "phone=%2B12025550143",
        "phone=(202)%20555-0143",
        "phone=+12025550143",
        "email=DANA@example.com",
        "key=intercom/acme/contact/a",
        "key=intercom/acme/conversation/7",
    ],
)
async def test_one_customer_is_found_by_whatever_is_known(desk: Desk, query: str) -> None:
    await dana(desk)
    found = await desk.get(f"/v1/lookup?{query}")
    assert Lookup.model_validate(found).result == "one"
    assert found["customer"]["profile"]["name"]["value"] == "Dana Reyes"
    assert found["customer"]["sources"] == ["hubspot/acme", "intercom/acme"]


async def test_an_external_id_is_found_within_its_namespace_only(desk: Desk) -> None:
    held = [Identifier(kind="external_id", namespace="shop", value="Q7", class_="recorded")]
    await desk.tell(desk.event("hubspot/contact/1", Person(role="customer", display_name="Dana", identifiers=held)))
    assert (await desk.get("/v1/lookup?external_id=Q7&namespace=shop"))["result"] == "one"
    assert (await desk.get("/v1/lookup?external_id=Q7&namespace=bank"))["result"] == "none"


async def test_a_shared_phone_gives_candidates_with_reasons_and_nothing_private(desk: Desk) -> None:
    await office(desk)
    found = await desk.get(f"/v1/lookup?phone={quote(OFFICE)}")
    assert found["result"] == "candidates"
    assert {each["name"] for each in found["candidates"]} == {"Max Weber", "Noor Haddad", "Ben Ode"}
    assert {each["organization"] for each in found["candidates"]} == {"Example Bakery"}
    assert {each["reason"] for each in found["candidates"]} == {"known in HubSpot"}
    assert all(set(each) == {"id", "name", "organization", "reason"} for each in found["candidates"])


async def test_a_call_from_a_shared_phone_does_not_make_the_caller_known(desk: Desk) -> None:
    await office(desk)
    await desk.tell(desk.call("aircall/call/1", OFFICE))
    found = await desk.get(f"/v1/lookup?phone={quote(OFFICE)}")
    assert found["result"] == "candidates"
    assert {each["name"] for each in found["candidates"]} == {"Max Weber", "Noor Haddad", "Ben Ode"}


async def test_a_call_from_a_shared_phone_leads_to_candidates_too(desk: Desk) -> None:
    await office(desk)
    await desk.tell(desk.call("aircall/call/1", OFFICE))
    found = await desk.get("/v1/lookup?key=aircall/acme/call/1")
    assert found["result"] == "candidates"
    assert {each["name"] for each in found["candidates"]} == {"Max Weber", "Noor Haddad", "Ben Ode"}


async def test_the_last_one_left_of_an_office_is_still_a_guess(desk: Desk) -> None:
    await office(desk)
    await desk.tell(desk.gone("hubspot/contact/1", Person), desk.gone("hubspot/contact/2", Person))
    found = await desk.get(f"/v1/lookup?phone={quote(OFFICE)}")
    assert found["result"] == "candidates"
    assert [each["name"] for each in found["candidates"]] == ["Max Weber"]


async def test_at_most_five_candidates_come_the_latest_in_touch_first(desk: Desk) -> None:
    names = ("Max Weber", "Noor Haddad", "Ben Ode", "Ida Lund", "Tom Falk", "Eva Stern", "Jo Marsh")
    await desk.tell(*(desk.person(f"hubspot/contact/{n}", name, OFFICE) for n, name in enumerate(names)))
    await desk.tell(
        desk.ticket("intercom/conversation/1", "hubspot/contact/5", "older", at=desk.ago(5 * HOUR)),
        desk.ticket("intercom/conversation/2", "hubspot/contact/6", "newer", at=desk.ago(HOUR)),
    )
    found = await desk.get(f"/v1/lookup?phone={quote(OFFICE)}")
    assert len(found["candidates"]) == 5
    assert [each["name"] for each in found["candidates"][:2]] == ["Jo Marsh", "Eva Stern"]


async def test_a_new_caller_is_one_by_the_number_alone(desk: Desk) -> None:
    await desk.tell(desk.call("aircall/call/1", "+12025550177"))
    found = await desk.get("/v1/lookup?phone=%2B12025550177")
    assert found["result"] == "one"
    assert found["customer"]["people"][0]["implied"] is True


@pytest.mark.parametrize(
    "query",
    ["phone=%2B12025550188", "phone=anonymous", "phone=%2B12025550199", "email=support@example.com", "key=a/b/c/d"],
)
async def test_nobody_is_none_with_a_reason(desk: Desk, query: str) -> None:
    await dana(desk)
    found = await desk.get(f"/v1/lookup?{query}")
    assert found["result"] == "none"
    assert found["reason"]


async def test_whom_their_source_deleted_is_not_found_any_more(desk: Desk) -> None:
    await desk.tell(desk.person("hubspot/contact/1", "Dana Reyes", DANA))
    await desk.tell(desk.gone("hubspot/contact/1", Person))
    assert (await desk.get(f"/v1/lookup?phone={quote(DANA)}"))["result"] == "none"


async def test_staff_are_never_found_as_customers(desk: Desk) -> None:
    held = [Identifier(kind="email", value="maya@example.com", class_="recorded")]
    await desk.tell(desk.event("intercom/contact/9", Person(role="staff", display_name="Maya", identifiers=held)))
    assert (await desk.get("/v1/lookup?email=maya@example.com"))["result"] == "none"


@pytest.mark.parametrize(
    ("query", "parameter"),
    [("", None), ("phone=1&email=a@example.com", None), ("external_id=1", "namespace"), ("fone=1", "fone")],
)
async def test_a_wrong_question_says_what_to_ask(desk: Desk, query: str, parameter: str | None) -> None:
    problem = await desk.get(f"/v1/lookup?{query}", 400)
    assert problem["remedy"]
    assert parameter is None or parameter in problem["errors"]


async def test_what_is_joined_at_read_says_as_of_when(desk: Desk) -> None:
    await dana(desk)
    state = {"connector": "intercom", "account": "acme", "last_delivery": desk.clock - HOUR}
    await desk.store.put_state("desk", "p1", orjson.dumps(state), desk.clock)
    await desk.tell(
        desk.article("guru/card/1", "Bag lost or late", "What to do when a bag never arrived.", verified=True),
        desk.article("guru/card/2", "Parking", "Where to park a car."),
    )
    customer = (await desk.get("/v1/lookup?email=dana@example.com"))["customer"]
    now = desk.ago(0)
    assert customer["signals"]["waiting_since"] == {
        "value": desk.ago(2 * DAY), "since_seconds": 2 * 86_400, "as_of": now,
    }  # fmt: skip
    assert customer["signals"]["contacts_7d"] == {"value": 1, "as_of": now}
    assert customer["freshness"] == {
        "hubspot/acme": {"heard": None, "complete_up_to": None, **NOTHING_CAME, "as_of": now},
        "intercom/acme": {"heard": desk.ago(HOUR), "complete_up_to": None, **NOTHING_CAME, "as_of": now},
    }
    assert [card["title"] for card in customer["knowledge"]] == ["Bag lost or late"]
    assert customer["knowledge"][0]["verified"] is True
    before = customer["version"]
    desk.clock += 8 * DAY
    later = (await desk.get("/v1/lookup?email=dana@example.com"))["customer"]
    assert later["signals"]["contacts_7d"]["value"] == 0
    assert later["version"] == before


async def test_answers_are_to_what_a_customer_wrote_before_what_staff_promised(desk: Desk) -> None:
    await dana(desk)  # writes about a bag
    await desk.tell(
        desk.task("hubspot/task/1", "hubspot/contact/1", "Call back, the phone rota decides"),
        desk.article("guru/card/1", "Who is on call", "Phone rota: who takes a call back, and who decides."),
        desk.article("guru/card/2", "Lost luggage", "Bags are searched for three weeks, then paid by the airline."),
        desk.article("guru/card/3", "A call back", "How to call."),
    )
    customer = (await desk.get("/v1/lookup?email=dana@example.com"))["customer"]
    assert [card["title"] for card in customer["knowledge"]] == ["Lost luggage", "Who is on call"]


async def test_references_get_the_names_of_what_they_point_to(desk: Desk) -> None:
    await dana(desk)
    await desk.tell(
        desk.staff("intercom/admin/3", "Maya Lind"),
        desk.ticket("intercom/conversation/7", "intercom/contact/a", "Bag", assignee=ref("intercom/admin/3")),
    )
    customer = (await desk.get("/v1/lookup?email=dana@example.com"))["customer"]
    assert customer["conversations"][0]["assignee"] == {"key": full("intercom/admin/3"), "name": "Maya Lind"}
