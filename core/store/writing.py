"""One transaction of the one writer: what is written together, and what follows from it (words, parties, offsets)."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any

import orjson

from core.errors import GaveWay, OffsetsMoved
from core.store import (
    ActivityRow,
    CustomerHead,
    CustomerRow,
    DeadRow,
    EvidenceRow,
    HubRow,
    LedgerRow,
    ObjectRow,
    PartyRow,
    PersonRow,
    RepairRow,
)
from core.store.database import Database, Put, Rows, Writer
from core.store.packing import packed, unpacked

# Of several roles in one activity the first of these counts; the activity is one line in the timeline.
ROLES = ("requester", "caller", "callee", "author", "recipient", "collaborator", "cc", "follower")
_RANK = {role: rank for rank, role in enumerate(ROLES)}
MOST_REPAIRS = 1_000  # that are kept per connection
_NEWEST = itemgetter(4, 1)  # of an ActivityRow: at, object
_Standing = tuple[bool, str | None]  # of an object: has a card, its parent
_GONE: _Standing = False, None


# Keys that begin so: "0" is the sign behind "/", with which every prefix ends.
KEYS_BELOW = "SELECT key FROM object WHERE key > ? AND key < ? {} ORDER BY key LIMIT ?"


def below(prefix: str, after: str) -> tuple[str, str]:
    return max(prefix, after), prefix.removesuffix("/") + "0"


def to_persons(rows: Sequence[Sequence[Any]]) -> list[PersonRow]:
    return [PersonRow._make(_flagged(row, 5, 6)) for row in rows]


def to_activities(rows: Sequence[Sequence[Any]]) -> list[ActivityRow]:
    """Newest first, those of one person without doubles."""
    unique = {(row[0], row[1]): row for row in rows}
    return [ActivityRow._make(_flagged(row, 5)) for row in sorted(unique.values(), key=_NEWEST, reverse=True)]


def _flagged(row: Sequence[Any], *flags: int) -> Sequence[Any]:
    """SQLite's truth values are numbers; these columns become bool."""
    if isinstance(row[flags[0]], bool):
        return row
    values = list(row)
    for flag in flags:
        values[flag] = bool(values[flag])
    return values


class Polite:
    """A `Writer` that ends its transaction, between two statements, once `give_way` answers so."""

    def __init__(self, writer: Writer, give_way: Callable[[], bool]) -> None:
        self.lot = writer.lot
        self._writer = writer
        self._give_way = give_way

    async def rows(self, sql: str, *parameters: Any, few: bool = False) -> Rows:
        await self.ask()
        return await self._writer.rows(sql, *parameters, few=few)

    async def among(self, sql: str, keys: Iterable[str], *parameters: Any) -> Rows:
        await self.ask()
        return await self._writer.among(sql, keys, *parameters)

    async def each(self, sql: str, keys: Iterable[str], *parameters: Any) -> Rows:
        await self.ask()
        return await self._writer.each(sql, keys, *parameters)

    async def put(self, put: Put, rows: Sequence[Sequence[Any]]) -> None:
        await self.ask()
        await self._writer.put(put, rows)

    async def ask(self) -> None:
        await asyncio.sleep(0)  # what comes in meanwhile is heard of
        if self._give_way():
            raise GaveWay("something else goes first")


class Transaction:
    """A `Writing` over a session that holds the hub's lock."""

    def __init__(self, database: Database, session: Writer, hub: HubRow) -> None:
        self.hub = hub
        self.lot = session.lot
        self._database = database
        self._session = session
        self._sql = database.statements
        # What was read so far, so that writing need not read it again; nobody else writes meanwhile.
        self._held: dict[str, _Standing] = {}
        self._new: set[str] = set()  # objects that were not there, and so have no parties
        self._searched: dict[str, tuple[str, bool]] = {}  # by customer: search, live

    async def breathe(self) -> None:
        if isinstance(self._session, Polite):
            await self._session.ask()

    # -- offsets and the hub
    async def move_offsets(self, moves: Sequence[tuple[str, int, int, int]]) -> None:
        topics = sorted({topic for topic, *_ in moves})
        rows: list[tuple[Any, ...]] = []
        for topic in topics:
            rows += await self._session.rows(
                "SELECT topic, partition, next FROM bus_offset WHERE topic = ?", topic, few=True
            )
        stored = {(topic, partition): at for topic, partition, at in rows}
        if any(stored.get((topic, partition), begin) != begin for topic, partition, begin, _ in moves):
            raise OffsetsMoved({key: at for key, at in stored.items() if key in {(t, p) for t, p, *_ in moves}})
        await self._session.put(self._sql.put_offset, [(topic, partition, end) for topic, partition, _, end in moves])

    async def set_seq(self, seq: int) -> None:
        await self._session.rows("UPDATE hub SET seq = ?", seq, few=True)
        self.hub = self.hub._replace(seq=seq)

    async def set_rules(self, rules: str) -> None:
        await self._session.rows("UPDATE hub SET rules = ?", rules)
        self.hub = self.hub._replace(rules=rules)

    async def new_generation(self, fold_revision: int, rules: str) -> HubRow:
        generation = self.hub.generation + 1
        self.hub = self.hub._replace(generation=generation, fold_revision=fold_revision, rules=rules)
        await self._session.rows(
            "UPDATE hub SET generation = ?, fold_revision = ?, rules = ?", generation, fold_revision, rules
        )
        # Everything is published again. The mark is one that no earlier generation had, so that a publisher that
        # still carries the old one cannot move it.
        await self._session.rows("UPDATE published SET seq = ?", -self.hub.generation)
        return self.hub

    async def suppressed(self, keys: Sequence[str]) -> set[str]:
        return {key for (key,) in await self._session.among(self._sql.suppressed, keys)}

    async def suppress(self, keys: Sequence[str], at: int) -> None:
        await self._session.put(self._sql.put_suppressed, [(key, at) for key in keys])

    # -- objects and their parties
    async def objects(self, keys: Sequence[str]) -> dict[str, bytes]:
        found = {}
        self._new.update(keys)
        for key, registers, live, parent in await self._session.among(self._sql.objects, keys):
            self._new.discard(key)
            found[key] = unpacked(registers)
            self._held[key] = bool(live), parent
        return found

    async def put_objects(self, rows: Sequence[ObjectRow]) -> None:
        await self._session.put(
            self._sql.put_object,
            [
                (row.key, "/".join(row.key.split("/", 2)[:2]), row.entity, row.parent, row.card is not None,
                 packed(row.registers), row.card, row.text)
                for row in rows
            ],
        )  # fmt: skip
        now = {row.key: (row.card is not None, row.parent) for row in rows}
        await self._session.among(self._sql.set_live, [key for key in now if self._turned(key, now[key])])
        self._new.difference_update(now)
        self._held.update(now)
        articles = [row for row in rows if row.entity == "article"]
        found = [row for row in articles if row.text]
        await self._session.put(
            self._sql.put_article,
            [(row.key, _is_verified(row.card), self._database.words(row.text or "")) for row in found],
        )
        await self._session.among(self._sql.drop_articles, {row.key for row in articles} - {row.key for row in found})

    def _turned(self, key: str, now: _Standing) -> bool:
        """Whether more is shown now, or less. What was not there has no parties, but parts may have come before it."""
        return now == _GONE if key in self._new else now != self._held.get(key)

    async def children(self, parents: Sequence[str]) -> dict[str, str]:
        return dict(await self._session.among(self._sql.children, parents))

    async def put_parties(self, objects: Sequence[str], rows: Sequence[PartyRow]) -> list[tuple[str, str]]:
        wanted: dict[tuple[str, str], PartyRow] = {}
        for row in rows:
            known = wanted.setdefault((row.object, row.person), row)
            if _RANK.get(row.role, len(ROLES)) < _RANK.get(known.role, len(ROLES)):
                wanted[row.object, row.person] = row
        stored = {
            (row[0], row[1]): PartyRow._make(_flagged(row, 5))
            for row in await self._session.among(self._sql.parties, objects)
        }
        gone = [pair for pair in stored if pair not in wanted]
        await self._session.put(self._sql.drop_party, gone)
        await self._session.put(self._sql.put_party, [row for pair, row in wanted.items() if stored.get(pair) != row])
        return gone

    async def activities(self, persons: Sequence[str], recent: int, open_: int) -> list[ActivityRow]:
        rows = await self._session.each(self._sql.activities, persons, recent)
        found = Counter(row[0] for row in rows)
        # Whoever has fewer than that has shown them all already.
        more = [person for person in persons if found[person] == recent]
        rows += await self._session.each(self._sql.open_activities, more, open_)
        return to_activities(rows)

    async def all_object_keys(self, after: str, limit: int) -> list[str]:
        rows = await self._session.rows("SELECT key FROM object WHERE key > ? ORDER BY key LIMIT ?", after, limit)
        return [key for (key,) in rows]

    async def object_keys(self, prefix: str, after: str, limit: int) -> list[str]:
        rows = await self._session.rows(KEYS_BELOW.format(""), *below(prefix, after), limit)
        return [key for (key,) in rows]

    async def drop_objects(self, keys: Sequence[str]) -> None:
        await self._session.among(self._sql.drop_articles, keys)
        await self._session.among(self._sql.drop_objects, keys)
        await self._session.among(self._sql.set_live, keys)  # what was part of them

    async def drop_connection(self, connection: str) -> None:
        for table in ("dead", "ledger", "repair"):
            await self._session.rows(f"DELETE FROM {table} WHERE connection = ?", connection)  # noqa: S608

    # -- persons and evidence
    async def persons(self, keys: Sequence[str]) -> list[PersonRow]:
        return to_persons(await self._session.among(self._sql.persons, keys))

    async def persons_of(self, customers: Sequence[str]) -> list[PersonRow]:
        return to_persons(await self._session.among(self._sql.persons_of, customers))

    async def aliases_to(self, keys: Sequence[str]) -> list[PersonRow]:
        return to_persons(await self._session.among(self._sql.aliases_to, keys))

    async def put_persons(self, rows: Sequence[PersonRow]) -> None:
        await self._session.put(self._sql.put_person, rows)

    async def unnamed(self, persons: Sequence[str]) -> set[str]:
        return set(persons) - {person for (person,) in await self._session.among(self._sql.named, persons)}

    async def entities(self, persons: Sequence[str]) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for person, entity in await self._session.among(self._sql.entities, persons):
            found.setdefault(person, set()).add(entity)
        return found

    async def drop_persons(self, keys: Sequence[str]) -> None:
        await self._session.among(self._sql.drop_persons, keys)

    async def set_customers(self, pairs: Sequence[tuple[str, str]]) -> None:
        await self._session.put(self._sql.set_customer, pairs)

    async def evidence(self, persons: Sequence[str]) -> list[EvidenceRow]:
        rows = await self._session.among(self._sql.evidence, persons)
        return [EvidenceRow._make(_flagged(row, 3)) for row in rows]

    async def put_evidence(self, persons: Sequence[str], rows: Sequence[EvidenceRow]) -> None:
        self._sql.put_evidence.check(rows)
        wanted = {(row.person, row.identifier): row for row in rows}
        stored = {(row.person, row.identifier): row for row in await self.evidence(persons)}
        await self._session.put(self._sql.drop_evidence, [pair for pair in stored if pair not in wanted])
        await self._session.put(
            self._sql.put_evidence, [row for pair, row in wanted.items() if stored.get(pair) != row]
        )

    async def holders(self, identifiers: Sequence[str], at_most: int) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {identifier: [] for identifier in identifiers}
        for identifier, person in await self._session.each(self._sql.holders, identifiers, at_most + 1):
            found[identifier].append(person)
        return {identifier: sorted(set(people))[: at_most + 1] for identifier, people in found.items()}

    # -- customers
    async def heads(self, ids: Sequence[str]) -> dict[str, CustomerHead]:
        self._searched.update(dict.fromkeys(ids, ("", False)))
        found = {}
        for *row, identity, search in await self._session.among(self._sql.heads, ids):
            found[row[0]] = head = CustomerHead._make([*row, unpacked(identity)])
            self._searched[head.id] = search, head.status == "live"
        return found

    async def put_customers(self, rows: Sequence[CustomerRow], parts: Sequence[tuple[str, str, int]] = ()) -> None:
        await self.heads([row.id for row in rows if row.id not in self._searched])
        await self._session.put(
            self._sql.put_customer,
            [row._replace(record=packed(row.record), identity=packed(row.identity)) for row in rows],
        )
        changed = [row for row in rows if self._searched[row.id] != (row.search, row.status == "live")]
        self._searched.update({row.id: (row.search, row.status == "live") for row in changed})
        live = [row for row in changed if row.status == "live"]
        await self._session.put(self._sql.put_words, [(row.id, self._database.words(row.search)) for row in live])
        await self._session.among(self._sql.drop_words, [row.id for row in changed if row.status != "live"])
        await self._session.put(self._sql.put_part, parts)

    async def forget_identity(self, customers: Sequence[str]) -> None:
        await self._session.among(self._sql.forget_identity, customers)

    async def parts(self, customers: Sequence[str]) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for customer, entity, _ in await self._session.among(self._sql.parts, customers, 0):
            found.setdefault(customer, set()).add(entity)
        return found

    async def put_dead(self, rows: Sequence[DeadRow]) -> None:
        letters: dict[str, DeadRow] = {}
        for row in rows:
            times = letters[row.id].times + 1 if row.id in letters else row.times
            letters[row.id] = row._replace(times=times, state="open")
        await self._session.put(self._sql.put_dead, list(letters.values()))

    async def put_ledger(self, rows: Sequence[LedgerRow], repairs: Sequence[RepairRow]) -> None:
        await self._session.put(self._sql.put_ledger, rows)
        await self._session.put(self._sql.put_repair, repairs)
        for connection in sorted({row.connection for row in repairs}):
            await self._session.rows(
                """DELETE FROM repair WHERE connection = ? AND (at, key) < (
                       SELECT at, key FROM repair WHERE connection = ? ORDER BY at DESC, key DESC LIMIT 1 OFFSET ?)""",
                connection, connection, MOST_REPAIRS - 1,
            )  # fmt: skip


def _is_verified(card: bytes | None) -> bool:
    return card is not None and orjson.loads(card).get("verified") is True
