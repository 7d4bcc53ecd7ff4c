"""A process of the hub that, told to begin, asks one source as fast as it may, and prints how many answers it has had.

python -m tests.asker SERVERS PREFIX URL PURPOSE SECONDS
"""

import asyncio
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import cast

from core.bus.kafka import open_kafka
from core.bus.topics import QUOTA, TOPICS
from core.ingest import Claims, Client, Treasury, sessions
from core.ingest.quota import Purpose
from tests.limited import LIMIT, PER, untold


def now() -> datetime:
    return datetime.now(UTC)


async def main(servers: str, prefix: str, url: str, purpose: str, seconds: str) -> None:
    answers = 0

    async def ask(http: Client) -> None:
        nonlocal answers
        while True:
            await http.get("/me", purpose=purpose)
            answers += 1

    connection = untold("desk", LIMIT, timedelta(seconds=PER), url)
    topics = {QUOTA: TOPICS[QUOTA]}
    async with open_kafka(servers, prefix=prefix, options={}, topics=topics) as bus, sessions() as session:
        treasury = Treasury({"desk": connection}, {"desk": "acme"}, now, claims=Claims(bus, now))
        client = Client(connection, session, now, treasury=treasury).of(cast(Purpose, purpose))
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        with suppress(TimeoutError):
            async with asyncio.timeout(float(seconds)), asyncio.TaskGroup() as group:
                for _ in range(3):
                    group.create_task(ask(client))
    print(answers, flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
