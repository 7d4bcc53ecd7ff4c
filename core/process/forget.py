"""A mark of a purge in its place: what one source said in this partition is taken out, as if it had never come."""

import time

from core.bus.topics import EVENTS
from core.process.objects import forgotten
from core.process.step import Settings, write
from core.purge import Mark
from core.store import DeadRow, Store, Writing

_STEP = 500  # keys of one transaction


async def forget(store: Store, mark: Mark, topic: str, partition: int, offset: int, settings: Settings) -> None:
    """Until the offset is behind the mark, in steps that are each committed: killed in between, the next worker finds
    the mark and what is left. Raises OffsetsMoved where another worker has it, and TransientError.

    What was erased stays erased: marks of suppression are kept, so that adding the connection again brings nobody back.
    """
    after = ""
    while True:
        async with store.writing() as writing:
            # Also a fence: whoever lost the partition must not forget what came behind the mark meanwhile.
            await writing.move_offsets([(topic, partition, offset, offset)])
            keys = await writing.object_keys(f"{mark.source}/", after, _STEP) if topic == EVENTS else []
            if not keys:
                await writing.drop_connection(mark.connection)
                await writing.move_offsets([(topic, partition, offset, offset + 1)])
                return
            await _take_out(writing, [key for key in keys if mark.holds(key, partition)], settings)
        after = keys[-1]


async def _take_out(writing: Writing, keys: list[str], settings: Settings) -> None:
    if not keys:
        return
    changed = forgotten(await writing.objects(keys), settings.rules)
    await writing.drop_objects(keys)
    dead: list[DeadRow] = []
    await write(writing, changed, settings, dead, int(time.time() * 1000))
    if dead:
        await writing.put_dead(dead)
