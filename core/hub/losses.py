"""What the bus lost before it was processed is asked of the sources again."""

from datetime import timedelta

from core import ingest
from core.bus import Bus
from core.config import HubConfig
from core.sdk import from_ms
from core.store import Store

OUT_OF_STEP = 86_400_000  # ms: partitions are not all read equally far


async def read_again(config: HubConfig, bus: Bus, store: Store, now: int) -> dict[str, str]:
    """Ask every source again for what the bus lost: what changed since the newest event that the store has of it, and
    a day before. Answers since when, by connection. `now` is epoch ms."""
    found: dict[str, str] = {}
    for name, connection in config.connections.items():
        hours = await store.ledger(0, name)
        begin = hours[0].hour - OUT_OF_STEP if hours else None
        since = None if begin is None else timedelta(milliseconds=now - begin)
        if await ingest.read_again(bus, connection, now, since):
            found[name] = from_ms(begin) or "its beginning"
    return found
