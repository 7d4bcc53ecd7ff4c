"""Filling a store with many customers at once, for benchmarks: the same statements as process, in large batches."""

from collections.abc import Callable, Iterable
from itertools import islice
from typing import NamedTuple

from core.store import CustomerRow, EvidenceRow, ObjectRow, PartyRow, PersonRow, Store

_BATCH = 4_000  # customers


class Loaded(NamedTuple):
    """One customer with all that hangs on it. The customer's `seq` is given while it is loaded."""

    customer: CustomerRow
    persons: tuple[PersonRow, ...]
    evidence: tuple[EvidenceRow, ...] = ()
    objects: tuple[ObjectRow, ...] = ()
    parties: tuple[PartyRow, ...] = ()


async def load(
    store: Store,
    customers: Iterable[Loaded],
    *,
    published: bool = True,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Put them all, batch by batch, each committed; they come on top of what is there. `published` also marks them as
    sent, so that a publisher does not begin with all of them. Returns how many; `progress` gets the number so far."""
    source, done = iter(customers), 0
    while batch := list(islice(source, _BATCH)):
        async with store.writing() as writing:
            first = writing.hub.seq + 1
            objects = [row for each in batch for row in each.objects]
            persons = [row for each in batch for row in each.persons]
            await writing.put_objects(objects)
            await writing.put_parties([row.key for row in objects], [row for each in batch for row in each.parties])
            await writing.put_persons(persons)
            await writing.put_evidence([row.key for row in persons], [row for each in batch for row in each.evidence])
            await writing.put_customers([each.customer._replace(seq=seq) for seq, each in enumerate(batch, first)])
            await writing.set_seq(first + len(batch) - 1)
        done += len(batch)
        progress(done)
    if published:
        await store.set_published(await store.published(), (await store.hub()).seq)
    return done
