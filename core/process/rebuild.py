"""Fold again what the store's registers say: everything, in a new generation (new rules, a new fold, a restored
backup), or one record that could not be folded."""

import time
from collections.abc import Callable

import structlog

from core.process.folding import fold_touched
from core.process.objects import Changed, rebuilt
from core.process.people import Moved
from core.process.revision import UNFINISHED, digest, refuse_older
from core.process.settings import Settings
from core.process.step import write
from core.projection import FOLD_REVISION
from core.store import DeadRow, Store

_STEP = 500
log = structlog.get_logger()


async def rebuild(store: Store, settings: Settings, progress: Callable[[int], None] = lambda done: None) -> int:
    """Begin a new generation and fold every object once more, in steps, each of them committed. Ids stay: they derive
    from the hub's secret. `progress` gets the number of objects done. Returns how many there were; raises
    StaleWorkerError where a newer hub has folded the store. Whoever breaks it off is told so until it is done again.

    Workers may go on meanwhile: one writer at a time, and whatever is folded twice is the same. Where one of them goes
    by other rules, a rebuild stays due.
    """
    mark = UNFINISHED + digest(settings)
    async with store.writing() as writing:
        refuse_older(writing.hub)
        await writing.new_generation(FOLD_REVISION, mark)
    after, done = "", 0
    while True:
        async with store.writing() as writing:
            keys = await writing.all_object_keys(after, _STEP)
            if not keys:
                if writing.hub.rules == mark:  # else somebody folded by other rules meanwhile
                    await writing.set_rules(digest(settings))
                return done
            changed = rebuilt(await writing.objects(keys), settings.rules)
            await writing.put_objects(changed.rows)
            dead: list[DeadRow] = []
            await write(writing, changed, settings, dead, int(time.time() * 1000))
            if dead:
                await writing.put_dead(dead)
        after, done = keys[-1], done + len(keys)
        progress(done)


async def refold(store: Store, customer: str, settings: Settings) -> bool:
    """Fold one record again. False where that fails once more: its dead letter is open again."""
    async with store.writing() as writing:
        refuse_older(writing.hub)
        await writing.forget_identity([customer])
        dead: list[DeadRow] = []
        now = int(time.time() * 1000)
        await fold_touched(writing, Changed(), Moved(fold={customer}), {}, settings, dead, now)
        if dead:
            await writing.put_dead(dead)
    return not dead
