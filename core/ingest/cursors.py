"""Where every stream's poll goes on, orders to whoever polls, and which account a connection has: kept on a compacted
topic of the bus."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

import orjson

from core.bus import Batch, Bus, Message
from core.bus.topics import CURSORS, partition_of
from core.errors import PermanentError
from core.ingest.pace import patiently
from core.sdk.connector import Cursor

SWEEP = "_sweep"  # stands where a stream would: the order to sweep all of them; see `sweep`
DUE = "_due "  # before a stream's or listing's name: the order to read that one; see `due`
_ACCOUNT = "_account"
_PAGE = 1000
_LOOK = 0.1


def listing_name(kind: str) -> str:
    """Under which a listing is saved, shown and counted, beside the streams."""
    return f"all {kind}"


def due(connection: str, part: str, now: int) -> Message:
    """Tells whoever polls the connection, now or next, that a stream or listing was not complete until `now` (epoch
    ms), whatever its schedule says."""
    return Message(CURSORS, f"{connection}/{DUE}{part}", orjson.dumps({"asked": now}), partition_by=connection)


@dataclass(frozen=True, slots=True)
class Saved:
    """`at`: when it was saved; `complete_up_to`: when the last poll that ended by itself began; `began`: when the one
    that is still under way did. Epoch ms. `cursor` None: no page ever came, also where polls ended by themselves.

    Of the one under way: `fetched` rows of `total` (None: the source does not tell); `backfill`: it began from nothing;
    `since`: how many seconds it goes back, where that is not the connection's own. `asked`: when a person last asked
    for a new beginning; `accept`: a listing is taken however much it lacks.
    """

    cursor: Cursor | None = None
    at: int | None = None
    complete_up_to: int | None = None
    began: int | None = None
    fetched: int = 0
    total: int | None = None
    backfill: bool = False
    since: float | None = None
    asked: int = 0
    accept: bool = False


class Cursors:
    """All methods wait while the bus is down."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def partition(self, connection: str) -> int:
        """Of the cursors' topic: whoever is assigned it polls this connection."""
        return partition_of(Message(CURSORS, connection, None), len(await patiently(lambda: self._bus.range(CURSORS))))

    async def streams(self, connection: str) -> dict[str, bytes]:
        """What is saved now, by stream; see `decode`. Under SWEEP and DUE the last orders; see `asked`."""
        found = await self._read([await self.partition(connection)])
        return {stream: value for (name, stream), value in found.items() if name == connection and stream != _ACCOUNT}

    async def accounts(self) -> dict[str, str]:
        """Of every connection that has learnt its own."""
        found = await self._read(await patiently(lambda: self._bus.range(CURSORS)))
        return {name: orjson.loads(value)["account"] for (name, stream), value in found.items() if stream == _ACCOUNT}

    async def save(self, connection: str, stream: str, saved: Saved) -> None:
        """Durable on return. Raises PermanentError where the cursor is no JSON."""
        try:
            value = orjson.dumps(saved)
        except TypeError as error:
            raise PermanentError(f"stream {stream} gave a cursor that is no JSON") from error
        await self.put(connection, stream, value)

    async def sweep(self, connection: str, now: int) -> None:
        """Tell whoever polls the connection, now or next, that deliveries may have been missed until `now` (epoch ms):
        a stream whose last complete poll began before is polled at once. Durable on return."""
        await self.put(connection, SWEEP, orjson.dumps({"asked": now}))

    async def save_account(self, connection: str, account: str) -> None:
        await self.put(connection, _ACCOUNT, orjson.dumps({"account": account}))

    async def forget(self, connection: str) -> None:
        """All of its cursors and its account: whoever adds it again begins from nothing."""
        for stream in (*await self.streams(connection), _ACCOUNT):
            message = Message(CURSORS, f"{connection}/{stream}", None, partition_by=connection)
            await patiently(lambda message=message: self._bus.publish([message]))  # type: ignore[misc]

    async def put(self, connection: str, stream: str, value: bytes) -> None:
        """The same with a value as it stood on the bus."""
        message = Message(CURSORS, f"{connection}/{stream}", value, partition_by=connection)
        await patiently(lambda: self._bus.publish([message]))

    async def _read(self, partitions: Iterable[int]) -> dict[tuple[str, str], bytes]:
        """The last value of each key of these partitions."""
        found: dict[tuple[str, str], bytes] = {}
        for partition in partitions:
            position, head = (await patiently(lambda: self._bus.range(CURSORS)))[partition]
            while position < head:
                batch = await self._page(partition, position)
                for record in batch.records:
                    name, _, stream = record.key.rpartition("/")
                    found[name, stream] = record.value or b""
                if batch.end <= position:
                    await asyncio.sleep(_LOOK)  # without the last cursor a stream would begin from nothing
                position = batch.end
        return {key: value for key, value in found.items() if value}

    async def _page(self, partition: int, position: int) -> Batch:
        return await patiently(lambda: self._bus.read(CURSORS, partition, position, _PAGE))


def asked(value: bytes | None) -> int:
    """When a person last asked for a new beginning, or somebody for a sweep; 0 where nobody did, or the value cannot be
    read."""
    try:
        return int(orjson.loads(value or b"{}").get("asked", 0))
    except (AttributeError, TypeError, ValueError):
        return 0


def decode(value: bytes | None) -> Saved:
    """Raises PermanentError where it is not what `save` writes."""
    if value is None:
        return Saved()
    try:
        saved = Saved(**orjson.loads(value))
    except (TypeError, ValueError) as error:
        raise PermanentError("the saved cursor cannot be read") from error
    if saved.cursor is not None and not isinstance(saved.cursor, dict):
        raise PermanentError("the saved cursor is not an object")
    return saved
