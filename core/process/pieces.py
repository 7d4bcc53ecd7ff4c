"""Batches of the bus taken apart, without holes between the pieces. Pure."""

from collections.abc import Sequence

from core import purge
from core.bus import Batch


def first(batches: Sequence[Batch], count: int) -> tuple[list[Batch], list[Batch]]:
    """The first `count` records in as many batches as they need, and the rest."""
    lot: list[Batch] = []
    for number, batch in enumerate(batches):
        if not count:
            return lot, list(batches[number:])
        if len(batch.records) > count:
            cut = batch.records[count].offset
            lot.append(batch._replace(end=cut, records=batch.records[:count]))
            rest = batch._replace(begin=cut, records=batch.records[count:])
            return lot, [rest, *batches[number + 1 :]]
        lot.append(batch)
        count -= len(batch.records)
    return lot, []


def begins(batches: Sequence[Batch]) -> dict[tuple[str, int], int]:
    """Where to go on at, to have all of these once more."""
    return {(batch.topic, batch.partition): batch.begin for batch in reversed(batches)}


def halves(batches: Sequence[Batch]) -> list[list[Batch]]:
    """Two parts of about equal size; each partition's records stay in order and without holes between them."""
    if len(batches) > 1:
        middle = len(batches) // 2
        return [list(batches[:middle]), list(batches[middle:])]
    batch = batches[0]
    middle = len(batch.records) // 2
    cut = batch.records[middle].offset
    return [
        [batch._replace(end=cut, records=batch.records[:middle])],
        [batch._replace(begin=cut, records=batch.records[middle:])],
    ]


def at_marks(batch: Batch) -> list[Batch]:
    """The batch in pieces without holes between them, each mark alone."""
    parts, begin = [], batch.begin
    for index in [index for index, record in enumerate(batch.records) if purge.is_mark(record)]:
        offset = batch.records[index].offset
        before = [record for record in batch.records[:index] if record.offset >= begin]
        if offset > begin:
            parts.append(batch._replace(begin=begin, end=offset, records=before))
        parts.append(batch._replace(begin=offset, end=offset + 1, records=[batch.records[index]]))
        begin = offset + 1
    if batch.end > begin:
        rest = [record for record in batch.records if record.offset >= begin]
        parts.append(batch._replace(begin=begin, records=rest))
    return parts


def is_mark(batch: Batch) -> bool:
    return len(batch.records) == 1 and purge.is_mark(batch.records[0])
