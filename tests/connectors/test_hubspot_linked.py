"""The companies and orders that HubSpot's tickets are about."""

from typing import Any

from core.sdk import Hint
from tests.connectors.hubspot_source import Bench, bench, normalized, split_as, stock


async def linked(hub: Bench, hints: list[Hint]) -> Any:
    """What the one ticket among these hints is linked to, after a read."""
    found = [event for payload in await hub.hydrated(hints) for event in normalized(payload)]
    (ticket,) = [event for event in found if event.subject.split("/")[2] == "ticket"]
    assert ticket.mode == "full"
    return ticket.data.get("linked")


def key(hub: Bench, kind: str, type: str, ref: str) -> str:
    return f"hubspot/{hub.account}/{kind}/{hub.portal.world.id(type, ref)}"


async def test_a_ticket_names_the_company_and_the_order_that_it_is_about() -> None:
    async with bench() as hub:
        stock(hub)
        hub.later(seconds=5)
        company, order = key(hub, "company", "companies", "bakery"), key(hub, "order", "orders", "one")
        hints = split_as(hub, hub.tell("ticket.link", "one", to=["companies", "bakery"])).hints
        assert {hint.kind for hint in hints} == {"ticket", "company"}
        assert [each["key"] for each in await linked(hub, list(hints))] == [company]
        assert (await linked(hub, list(hints)))[0]["name"]
        hints = split_as(hub, hub.tell("ticket.link", "one", to=["orders", "one"])).hints
        assert {hint.kind for hint in hints} == {"ticket", "order"}
        assert [each["key"] for each in await linked(hub, list(hints))] == [company, order]
        pages = await hub.poll("tickets")
        (polled,) = [event.data["linked"] for page in pages for each in page.payloads for event in normalized(each)]
        assert [each["key"] for each in polled] == [company, order]
        hints = split_as(hub, hub.tell("ticket.unlink", "one", to=["companies", "bakery"])).hints
        assert [each["key"] for each in await linked(hub, list(hints))] == [order]


async def test_tickets_arrive_without_the_scope_for_what_they_are_about() -> None:
    async with bench() as hub:
        stock(hub)
        hub.tell("ticket.link", "one", to=["companies", "bakery"])
        hub.tell("ticket.link", "one", to=["orders", "one"])
        hub.portal.api.forbidden |= {"orders"}
        (page,) = await hub.poll("tickets")
        (event,) = [event for each in page.payloads for event in normalized(each)]
        assert [each["key"] for each in event.data["linked"]] == [key(hub, "company", "companies", "bakery")]
        assert event.data["parties"]


async def test_what_the_connection_does_not_read_is_not_asked_for() -> None:
    async with bench(objects=["contact", "ticket"]) as hub:
        stock(hub)
        hub.tell("ticket.link", "one", to=["companies", "bakery"])
        (page,) = await hub.poll("tickets")
        (event,) = [event for each in page.payloads for event in normalized(each)]
        assert "linked" not in event.data
        assert not [path for path, _ in hub.http.asked if "/tickets/companies" in path or "/tickets/orders" in path]
