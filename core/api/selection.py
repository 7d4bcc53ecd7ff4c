"""Which changes a subscriber asked for. A filter may send too much after a resume, never too little."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from core.api.items import needs
from core.store import CustomerRow, Store

_ASSIGNED = frozenset({"conversation", "call", "task", "deal"})


class Chosen(NamedTuple):
    """A row to send under the position `seq`, where the reader resumes; None: it resumes where it would have before."""

    seq: int | None
    row: CustomerRow


class Selection(Protocol):
    """Asked with each page of changes, in order."""

    async def choose(self, rows: Sequence[CustomerRow], after: int, resumed: bool) -> list[Chosen]:
        """`after` is the position before the page; `resumed`: what the reader got before it is not known here."""
        ...


class Everything:
    """No filter."""

    async def choose(self, rows: Sequence[CustomerRow], after: int, resumed: bool) -> list[Chosen]:
        return [Chosen(row.seq, row) for row in rows]


class OfEntities:
    """`?entity=`: customers of whom something of these types changed; what is no longer live always passes."""

    def __init__(self, store: Store, entities: frozenset[str]) -> None:
        self._store, self._entities = store, entities

    async def choose(self, rows: Sequence[CustomerRow], after: int, resumed: bool) -> list[Chosen]:
        changed = await self._store.parts({row.id: row.seq for row in rows}, after) if rows else {}
        return [
            Chosen(row.seq, row)
            for row in rows
            if row.status != "live" or self._entities & changed.get(row.id, frozenset())
        ]


class OfNeed:
    """`?ringing=1` and `?staff=`: records that match now, and once more when they no longer do."""

    def __init__(self, store: Store, ringing: bool, staff: str | None) -> None:
        self._store, self._ringing, self._staff = store, ringing, staff
        self._shown: set[str] = set()

    async def choose(self, rows: Sequence[CustomerRow], after: int, resumed: bool) -> list[Chosen]:
        maybe = await self._store.parts({row.id: row.seq for row in rows}, after) if resumed and rows else {}
        relevant = frozenset({"call"}) if self._ringing else _ASSIGNED
        chosen = []
        for row in rows:
            matches = row.status == "live" and self._matches(row)
            # After a resume the reader may still show one that no longer matches: its part changed, so send it.
            gone = row.id in self._shown or (resumed and (row.status != "live" or relevant & maybe.get(row.id, set())))
            if matches or gone:
                chosen.append(Chosen(row.seq, row))
            (self._shown.add if matches else self._shown.discard)(row.id)
        return chosen

    def _matches(self, row: CustomerRow) -> bool:
        need = needs(row.record)
        if not self._ringing:
            return self._staff in need.open_for
        return need.ringing and (self._staff is None or self._staff in need.ringing_for)


class OfCustomer:
    """`?customer=`: whoever the asked id is now, through merges and splits."""

    def __init__(self, store: Store, asked: str, now: CustomerRow) -> None:
        self._store, self._asked, self._now = store, asked, now.id
        self._sent: dict[str, int] = {}

    def first(self, row: CustomerRow, seq: int) -> Chosen:
        self._now, self._sent[row.id] = row.id, row.seq
        return Chosen(seq, row)

    async def choose(self, rows: Sequence[CustomerRow], after: int, resumed: bool) -> list[Chosen]:
        chosen: list[Chosen] = []
        for row in rows:
            if row.id not in (self._now, self._asked) and row.into != self._now:
                continue
            current = await resolve(self._store, self._asked)
            if current is not None:
                self._now = current.id
                if current.seq < row.seq:  # its turn was while another was followed; with a higher seq it is to come
                    # Without a position, before the row that has one: who is cut off in between gets both again.
                    self._add(chosen, None, current)
            self._add(chosen, row.seq, row)
        return chosen

    def _add(self, chosen: list[Chosen], seq: int | None, row: CustomerRow) -> None:
        if row.seq > self._sent.get(row.id, 0):
            self._sent[row.id] = row.seq
            chosen.append(Chosen(seq, row))


async def resolve(store: Store, id: str) -> CustomerRow | None:
    """The customer that any former id is now; None where no such id was ever given."""
    row = await store.customer(id)
    for _ in range(10):  # merged into one that was merged, and so on; a circle would be a fault of ours
        if row is None or row.status != "merged" or row.into is None:
            break
        row = await store.customer(row.into)
    return row
