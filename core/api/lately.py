"""What the ledger counted in the last 24 hours, for every record that is read; asked of the store now and then only."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import TypeVar

from core.ledger import HOUR
from core.store import LedgerRow, Store
from schemas.answers import Counts

_AGE = 5_000  # ms that counts are told again: the ledger has all hours of three months, and a look-up is to be quick

C = TypeVar("C", bound=Counts)


def since(now: int, hours: int) -> int:
    """Beginning of the hour so many hours ago (epoch ms)."""
    return (now - hours * HOUR) // HOUR * HOUR


def plus(counts: C, row: LedgerRow) -> C:
    """Both together."""
    added = {"received": row.received, "missing": row.missing, "early": row.early, "repaired": row.repaired}
    return counts.model_copy(update={name: getattr(counts, name) + more for name, more in added.items()})


class Lately:
    """One per API. Who comes while the store is asked waits for the same answer."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._until = 0
        self._counts: Mapping[str, Counts] = {}

    async def counts(self, store: Store, now: int) -> Mapping[str, Counts]:
        """By connection, at most five seconds old; of one without any nothing is said."""
        async with self._lock:
            if not 0 <= self._until - now <= _AGE:
                self._counts = _summed(await store.ledger(since(now, 24)))
                self._until = now + _AGE
            return self._counts


def _summed(rows: Iterable[LedgerRow]) -> Mapping[str, Counts]:
    summed: dict[str, Counts] = {}
    for row in rows:
        summed[row.connection] = plus(summed.get(row.connection, Counts()), row)
    return summed
