"""The load: a process of its own that plays Intercom at the webhook door and reads the feed. Prints JSON.

python -m tests.bench.client door URL SECRET SECONDS CUSTOMERS
python -m tests.bench.client latency URL SECRET SECONDS CUSTOMERS RATE API TOKEN
python -m tests.bench.client lookup API TOKEN TIMES CUSTOMERS
"""

import asyncio
import hashlib
import hmac
import json
import random
import re
import sys
import time
from typing import Any

import aiohttp
import uvloop

_CONNECTIONS = 64
EVENTS_EACH = 3  # of one delivery: the conversation, its first message, and the part that caused it
_SEEN = re.compile(rb"conversation/(9\d{8})")


def delivery(number: int, who: int, now: int) -> bytes:
    """A webhook as Intercom sends it: a conversation of an existing customer, with the part that caused it. There `who`
    is never 0, which is nobody."""
    id, contact = str(900_000_000 + number), str(who)
    part = {
        "type": "conversation_part", "id": f"{id}1", "part_type": "comment", "body": "Any news on my parcel? " * 4,
        "created_at": now, "updated_at": now, "author": {"id": contact, "type": "user", "name": "Customer"},
        "attachments": [], "redacted": False,
    }  # fmt: skip
    item = {
        "type": "conversation", "id": id, "created_at": now, "updated_at": now, "waiting_since": now,
        "source": {"type": "email", "id": f"{id}0", "delivered_as": "customer_initiated", "subject": "Parcel",
                   "body": "Where is it?", "author": {"type": "user", "id": contact}},
        "contacts": {"type": "contact.list", "contacts": [{"type": "contact", "id": contact}]},
        "open": True, "state": "open", "priority": "not_priority", "admin_assignee_id": None, "team_assignee_id": None,
        "conversation_parts": {"type": "conversation_part.list", "conversation_parts": [part], "total_count": 1},
    }  # fmt: skip
    envelope = {
        "type": "notification_event", "app_id": "bench", "id": f"notif_{number}", "topic": "conversation.user.replied",
        "data": {"type": "notification_event_data", "item": item}, "created_at": now, "delivery_attempts": 1,
    }  # fmt: skip
    return json.dumps(envelope).encode()


def signed(body: bytes, secret: str) -> dict[str, str]:
    digest = hmac.new(secret.encode(), body, hashlib.sha1).hexdigest()
    return {"X-Hub-Signature": f"sha1={digest}", "Content-Type": "application/json"}


async def door(url: str, secret: str, seconds: float, customers: int) -> dict[str, Any]:
    """As many deliveries as the door takes, from 64 connections."""
    statuses: dict[int, int] = {}
    number = 0
    begin = time.perf_counter()
    until = begin + seconds

    async def one(session: aiohttp.ClientSession) -> None:
        nonlocal number
        while time.perf_counter() < until:
            number += 1
            body = delivery(number % 90_000_000, 1 + number % (customers - 1), int(time.time()))
            async with session.post(url, data=body, headers=signed(body, secret)) as answer:
                statuses[answer.status] = statuses.get(answer.status, 0) + 1

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=_CONNECTIONS)) as session:
        await asyncio.gather(*(one(session) for _ in range(_CONNECTIONS)))
    return {"per_second": statuses.get(202, 0) / (time.perf_counter() - begin), "statuses": statuses}


async def latency(
    url: str, secret: str, seconds: float, customers: int, rate: float, api: str, token: str
) -> dict[str, Any]:
    """Deliveries of `rate` events per second, steady whatever the answers; from each one's first byte to its record on
    the feed."""
    pace = rate / EVENTS_EACH
    sent: dict[int, float] = {}
    took: list[float] = []
    base = random.randrange(10_000_000, 80_000_000)
    listening = asyncio.Event()

    async def feed(session: aiohttp.ClientSession) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        async with session.get(f"{api}/v1/feed?snapshot=0", headers=headers) as answer:
            listening.set()
            async for line in answer.content:
                if line.startswith(b"data:"):
                    now = time.perf_counter()
                    seen = {int(id) for id in _SEEN.findall(line)} & sent.keys()
                    took.extend(now - sent.pop(id) for id in seen)

    async def post(session: aiohttp.ClientSession, number: int, who: int) -> None:
        body = delivery(number, who, int(time.time()))
        sent[900_000_000 + number] = time.perf_counter()
        async with session.post(url, data=body, headers=signed(body, secret)) as answer:
            if answer.status != 202:
                sent.pop(900_000_000 + number, None)

    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, read_bufsize=2**20) as session:
        reader = asyncio.create_task(feed(session))
        await listening.wait()
        await asyncio.sleep(0.5)
        begin = time.perf_counter()
        posts: set[asyncio.Task[None]] = set()
        for tick in range(int(pace * seconds)):
            await asyncio.sleep(max(0.0, begin + tick / pace - time.perf_counter()))
            task = asyncio.create_task(post(session, base + tick, random.randrange(1, customers)))
            posts.add(task)
            task.add_done_callback(posts.discard)
        await asyncio.gather(*posts)
        for _ in range(100):
            if not sent:
                break
            await asyncio.sleep(0.1)
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
    return {"seconds": took, "lost": len(sent)}


async def lookup(api: str, token: str, times: int, customers: int) -> dict[str, Any]:
    """One look-up after the other by e-mail, as an agent's tool asks."""
    took: list[float] = []
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:
        for _ in range(times):
            who = f"customer{random.randrange(1, customers)}@example.com"
            begin = time.perf_counter()
            async with session.get(f"{api}/v1/lookup", params={"email": who}) as answer:
                found = await answer.json()
            took.append(time.perf_counter() - begin)
            if found["result"] != "one":
                raise SystemExit(f"{who}: {found['result']}")
    return {"seconds": took}


def main() -> None:
    what, *rest = sys.argv[1:]
    match what:
        case "door":
            work = door(rest[0], rest[1], float(rest[2]), int(rest[3]))
        case "latency":
            work = latency(rest[0], rest[1], float(rest[2]), int(rest[3]), float(rest[4]), rest[5], rest[6])
        case _:
            work = lookup(rest[0], rest[1], int(rest[2]), int(rest[3]))
    print(json.dumps(uvloop.run(work)))


if __name__ == "__main__":
    main()
