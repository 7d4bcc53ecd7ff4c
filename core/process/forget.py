"""A mark of a purge in its place: what one source said in this partition is taken out, as if it had never come."""

import time
from collections.abc import Sequence

from core.bus.topics import EVENTS, PAST
from core.process.objects import forgotten
from core.process.revision import refuse_older
from core.process.settings import Settings
from core.process.step import write
from core.purge import Mark
from core.store import DeadRow, Store, Writing

_STEP = 500  # keys of one transaction
TWINS = {EVENTS: PAST, PAST: EVENTS}  # where the same objects are told of, partition by partition


async def forget(store: Store, mark: Mark, places: Sequence[tuple[str, int, int]], settings: Settings) -> None:
    """Until the mark is passed, in steps that are each committed: killed in between, the next worker finds the mark and
    what is left. `places`: topic, partition and offset of the mark, and of its twin. Raises OffsetsMoved where another
    worker has one of them, StaleWorkerError and TransientError.

    What was erased stays erased: marks of suppression are kept, so that adding the connection again brings nobody back.
    """
    after, (topic, partition, _) = "", places[0]
    while True:
        async with store.writing() as writing:
            refuse_older(writing.hub)
            # Also a fence: whoever lost the partition must not forget what came behind the mark meanwhile.
            await writing.move_offsets([(*place, place[2]) for place in places])
            keys = await writing.object_keys(f"{mark.source}/", after, _STEP) if topic in TWINS else []
            if not keys:
                await writing.drop_connection(mark.connection)
                await writing.move_offsets([(*place, place[2] + 1) for place in places])
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
