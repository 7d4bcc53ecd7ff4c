"""The four sources as they are, played by their contract mocks, through the listener, the fetches and the polls."""

from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

from core import registry
from core.bus.embedded import open_embedded
from core.bus.topics import HINTS, TOPICS
from core.config.model import Connection
from core.ingest import Pace
from core.sdk import mock as kit
from tests.ingesting import messages, running, until

SOURCES = ("aircall", "guru", "hubspot", "intercom")
SECRETS = ("token", "api_token", "webhook_token", "webhook_secret", "client_secret")


async def test_the_story_comes_in_from_all_four_sources(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        mocks, connections, secrets = {}, {}, set()
        for name in SOURCES:
            connector, module = registry.load(name), registry.mock(name)
            mocks[name] = await stack.enter_async_context(kit.running(module.simulator(7, {}), pace=40))
            settings = {"account": "example"} if name in ("aircall", "guru") else {}
            settings |= {"type": name, "mock": True, "base_url": mocks[name].url, **module.DEMO}
            connections[name] = Connection(name, connector, connector.config(**settings))
            secrets |= {value.encode() for setting, value in module.DEMO.items() if setting in SECRETS}
        bus = await stack.enter_async_context(open_embedded(tmp_path / "bus.db", disk_cap=1_000_000_000))
        hub = await stack.enter_async_context(running(bus, *connections.values(), pace=Pace(report=0.2)))
        for name, mock in mocks.items():
            mock.courier.target = f"{hub.address}/hooks/{name}"

        documents = hub.documents
        await until(lambda: len(documents) == 4 and all(it["last_delivery"] for it in documents.values()), 60)
        await until(lambda: all(documents[name]["hydrated"] for name in ("guru", "hubspot")), 60)
        await until(lambda: documents["aircall"]["refused"], 60)
        await until(lambda: all(_complete(it) for it in documents.values()), 60)

        assert [it["error"] for it in documents.values()] == [None] * 4
        assert not await hub.letters()
        assert {name for name, it in documents.items() if it["refused"]} == {"aircall"}
        seen = Counter((event.connection, event.entity) for event in await hub.events())
        for expected in (
            ("aircall", "call"), ("guru", "article"), ("hubspot", "person"), ("hubspot", "deal"),
            ("intercom", "conversation"), ("intercom", "person"),
        ):  # fmt: skip
            assert seen[expected], f"{expected} is missing in {seen}"
        assert await messages(bus, HINTS)

        kept = [record for topic in TOPICS for record in await messages(bus, topic)]
        everything = b"\n".join(b"\n".join([it.value or b"", *(v for _, v in it.headers)]) for it in kept)
        assert len(secrets) >= 6 and not [secret for secret in secrets if secret in everything]


def _complete(document: dict[str, dict[str, dict[str, int | None]]]) -> bool:
    streams = document["streams"].values()
    return bool(streams) and all(stream["complete_up_to"] for stream in streams)
