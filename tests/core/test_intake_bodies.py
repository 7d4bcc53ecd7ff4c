"""Bodies at the webhook door: compressed, too large, broken, without end; and who never comes to one."""

import asyncio
import contextlib
import gzip
import zlib
from collections.abc import AsyncIterator

import pytest

from core.bus import Bus
from core.config.model import Server
from core.ingest import Board, Intake
from core.ingest.webhooks import Listener, listening
from core.metrics import Metrics
from tests.core.test_intake import PERSON, Door, bus, door, everything, now, open_door
from tests.source import connection, signed

__all__ = ["bus", "door"]


@pytest.mark.parametrize("encoding", ["identity", "gzip", "deflate"])
async def test_compressed_bodies_are_taken(door: Door, encoding: str) -> None:
    given = signed({"items": [PERSON]})
    pack = {"identity": bytes, "gzip": gzip.compress, "deflate": zlib.compress}[encoding]
    headers = {**given["headers"], "Content-Encoding": encoding}
    assert (await door.send("POST", "/hooks/desk", data=pack(given["data"]), headers=headers)).status == 202
    assert len(await door.events()) == 1


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_compressed_bomb_is_413(bus: Bus, encoding: str) -> None:
    async with open_door(bus, connection(account="acme", max_body=100_000)) as door:
        bomb = {"gzip": gzip.compress, "deflate": zlib.compress}[encoding](b" " * 50_000_000)
        assert len(bomb) < 100_000
        answer = await door.send("POST", "/hooks/desk", data=bomb, headers={"Content-Encoding": encoding})
        assert answer.status == 413
        assert door.metrics.by("refused", "reason") == {"the body is too large": 1}
        assert (await door.post({"items": [PERSON]})).status == 202


async def test_a_body_over_the_limit_is_413_with_and_without_its_length(bus: Bus) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 1000

    async with open_door(bus, connection(account="acme", max_body=10_000)) as door:
        assert (await door.send("POST", "/hooks/desk", data=b"x" * 10_001)).status == 413
        assert (await door.send("POST", "/hooks/desk", data=chunks())).status == 413
        assert not await everything(bus)


async def test_a_body_that_announces_too_much_is_refused_before_it_comes(door: Door) -> None:
    host, port = door.address.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /hooks/desk HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
    async with asyncio.timeout(10):
        assert b"413" in await reader.readline()
    writer.close()


@pytest.mark.parametrize("piece", [b"", b"X-More: 1\r\n"])
async def test_who_says_nothing_or_trickles_headers_is_hung_up_on(bus: Bus, piece: bytes) -> None:
    desk = connection(account="acme")
    listener = Listener(Intake(bus, {}, Board([desk], Metrics(), now), now), {}, Board([desk], Metrics(), now), now)
    async with listening(listener, Server(webhooks="127.0.0.1:0"), idle=0.3) as address:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
        writer.write(b"POST /hooks/desk HTTP/1.1\r\n" if piece else b"")
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionError):
                while not reader.at_eof():
                    writer.write(piece)
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(reader.read(1), 0.05)
        writer.close()


async def test_an_unknown_or_broken_encoding_is_refused_without_a_word(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await door.post({}, **{"Content-Encoding": "compress"})).status == 415
    for encoding in ("gzip", "br"):
        answer = await door.send("POST", "/hooks/desk", data=b"zz", headers={"Content-Encoding": encoding})
        assert answer.status == 400
    assert not caplog.records


async def test_many_bodies_at_once_are_asked_to_come_again(bus: Bus) -> None:
    async with open_door(bus, connection(account="acme"), most_bytes=5_000) as door:
        assert (await door.post({"items": [], "pad": "x" * 6_000})).status == 503
        answers = [(await door.post({"items": [PERSON]})).status for _ in range(60)]
        assert set(answers) == {202}, "each gives its bytes back"
