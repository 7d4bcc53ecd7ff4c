"""`hub purge` on a whole hub: while it runs and while it does not, and the connection may come again."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from tests.core.commands import Said, spawned
from tests.hubs import Hub, hub, until

TOKEN = "a-long-word-of-the-sender"


def entry(account: str) -> dict[str, Any]:
    return {"type": "push", "account": account, "token": TOKEN}


def items(number: str) -> list[dict[str, Any]]:
    held = [{"kind": "email", "value": "dana@example.com"}]
    parties = [{"role": "requester", "person": "person/1"}]
    return [
        {"entity": "person", "id": 1, "version": 1, "data": {"display_name": "Dana Reyes", "identifiers": held}},
        {"entity": "order", "id": 1, "version": 1, "data": {"number": number, "parties": parties}},
    ]


def connections(it: Hub, **entries: Any) -> None:
    text = yaml.safe_load(it.path.read_text())
    it.path.write_text(yaml.safe_dump({**text, "connections": entries}))


async def push(it: Hub, name: str, number: str) -> None:
    async with it.session.post(
        f"{it.webhooks}/hooks/{name}", json=items(number), headers={"Authorization": f"Bearer {TOKEN}"}
    ) as answer:
        assert answer.status == 202, await answer.text()


async def orders(it: Hub) -> set[str] | None:
    """Of Dana; None while she is nobody."""
    found = await it.get("/v1/lookup?email=dana@example.com")
    return {order["number"] for order in found["customer"]["orders"]} if found["result"] == "one" else None


async def command(it: Hub, *arguments: str) -> Said:
    return await asyncio.to_thread(lambda: spawned(*arguments, "-c", str(it.path), folder=it.folder))


@pytest.fixture
async def shops(tmp_path: Path) -> AsyncIterator[Hub]:
    """Two systems that know the same customer."""
    async with hub(tmp_path, {"erp": entry("erp"), "shop": entry("shop")}) as it:
        it.start()
        await it.ready()
        await push(it, "erp", "E-1")
        await push(it, "shop", "S-1")

        async def both() -> bool:
            return await orders(it) == {"E-1", "S-1"}

        async def reported() -> bool:
            return {each["connection"] for each in (await it.get("/v1/sources"))["sources"]} == {"erp", "shop"}

        await until(both, "both orders are in one record")
        await until(reported, "both connections have said who they are")
        yield it


async def is_only_the_erps(it: Hub) -> None:
    assert await orders(it) == {"E-1"}
    found = await it.get("/v1/lookup?email=dana@example.com")
    assert [person["key"] for person in found["customer"]["people"]] == ["push/erp/person/1"]
    assert {each["connection"] for each in (await it.get("/v1/sources"))["sources"]} == {"erp"}


async def test_a_connection_is_purged_while_the_hub_runs_and_may_come_again(shops: Hub) -> None:
    refused = await command(shops, "purge", "shop", "--yes")
    assert refused.code == 2 and "hub.yaml still has the connection 'shop'" in refused.err
    connections(shops, erp=entry("erp"))
    refused = await command(shops, "purge", "shop", "--yes")
    assert refused.code == 1 and "restart the hub" in refused.err
    assert await orders(shops) == {"E-1", "S-1"}
    await shops.stop()

    connections(shops, erp=entry("erp"), store=entry("shop"))
    refused = await command(shops, "purge", "shop", "--yes")
    assert refused.code == 1 and "'store' is of the same source, push/shop" in refused.err

    connections(shops, erp=entry("erp"))
    shops.start()
    await shops.ready()
    asked = await asyncio.to_thread(
        lambda: spawned("purge", "shop", "-c", str(shops.path), folder=shops.folder, stdin=b"n\n")
    )
    assert asked.code == 1 and "2 objects and 0 dead letters of push/shop will be forgotten" in asked.out
    assert await orders(shops) == {"E-1", "S-1"}
    said = await command(shops, "purge", "shop", "--yes", "--json")
    assert said.code == 0, said.err
    assert said.json == {"connection": "shop", "source": "push/shop", "purged": 2}
    await is_only_the_erps(shops)
    unknown = await command(shops, "purge", "shop", "--yes")
    assert unknown.code == 1 and "nothing is known of a connection 'shop'" in unknown.err
    again = await command(shops, "purge", "shop", "--yes", "--source", "push/shop", "--json")
    assert again.json["purged"] == 0

    await shops.stop()
    connections(shops, erp=entry("erp"), shop=entry("shop"))
    shops.start()
    await shops.ready()
    await push(shops, "shop", "S-1")

    async def back() -> bool:
        return await orders(shops) == {"E-1", "S-1"}

    await until(back, "the shop's order is in the record again")
    await shops.stop()


async def test_a_connection_is_purged_while_no_hub_runs(shops: Hub) -> None:
    await shops.stop()
    connections(shops, erp=entry("erp"))
    said = await command(shops, "purge", "shop", "--yes")
    assert said.code == 0, said.err
    assert "shop (push/shop) is gone: 2 objects forgotten" in said.out
    shops.start()
    await shops.ready()
    await is_only_the_erps(shops)
    await shops.stop()


async def test_the_last_connection_can_be_purged_too(tmp_path: Path) -> None:
    async with hub(tmp_path, {"shop": entry("shop")}) as it:
        connections(it)
        none = await command(it, "purge", "shop", "--yes")
        assert none.code == 2 and "there is no store" in none.err
        connections(it, shop=entry("shop"))
        it.start()
        await it.ready()
        await push(it, "shop", "S-1")
        await until(lambda: _is(it, {"S-1"}), "the order is in the record")
        await it.stop()
        connections(it)
        said = await command(it, "purge", "shop", "--yes")
        assert said.code == 0, said.err
        assert "shop (push/shop) is gone: 2 objects forgotten" in said.out
        connections(it, erp=entry("erp"))
        it.start()
        await it.ready()
        assert await orders(it) is None
        await it.stop()


async def _is(it: Hub, wanted: set[str]) -> bool:
    return await orders(it) == wanted


async def test_a_hub_that_is_killed_in_the_middle_of_a_purge_goes_on(shops: Hub) -> None:
    many = [
        {"entity": "person", "id": 100 + n, "version": 1, "data": {"display_name": f"Somebody {n}"}} for n in range(900)
    ]
    async with shops.session.post(
        f"{shops.webhooks}/hooks/shop", json=many, headers={"Authorization": f"Bearer {TOKEN}"}
    ) as answer:
        assert answer.status == 202

    async def there() -> bool:
        return (await shops.get("/v1/customers?q=somebody&limit=1"))["customers"] != []

    await until(there, "many customers of the shop")
    await shops.stop()
    connections(shops, erp=entry("erp"))
    shops.start()
    await shops.ready()
    order = {"source": "push/shop", "confirmed": True}
    async with shops.session.post(
        f"{shops.api}/v1/sources/shop/purge", json=order, headers=shops.authorization
    ) as answer:
        assert answer.status == 200
    await shops.kill()
    shops.start()
    await shops.ready()
    said = await command(shops, "purge", "shop", "--source", "push/shop", "--yes")
    assert said.code == 0, said.err
    await is_only_the_erps(shops)
    assert not await there()
    await shops.stop()


async def test_only_an_admin_may_purge(shops: Hub) -> None:
    made = await command(shops, "token", "add", "desk", "--scope", "read", "--json")
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {made.json['token']}"}) as session:
        async with session.post(f"{shops.api}/v1/sources/shop/purge", json={"confirmed": True}) as answer:
            assert answer.status == 403
    await shops.stop()
