"""The store over a database: look-ups, the feed's reads, and the short changes that need no writer's lock."""
# ruff: noqa: S608 - put together from this file's own constants; values are parameters

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson

from core.store import (
    ActivityRow,
    CustomerRow,
    DeadRow,
    HubRow,
    LedgerRow,
    Notices,
    ObjectRow,
    PersonRow,
    RepairRow,
    TokenRow,
    Writing,
    search,
)
from core.store.database import Database
from core.store.packing import to_customer, to_object, unpacked
from core.store.search import COLUMNS, MOST_WORDS, NO_SEQ
from core.store.words import distinct
from core.store.writing import KEYS_BELOW, Polite, Transaction, below, to_activities, to_persons

_HOLDERS = 200
_HUB = "SELECT generation, seq, fold_revision, kind, secret, rules FROM hub"
_DEAD = "SELECT id, connection, stage, reason, payload, at, state, times FROM dead"
_TOKEN = "SELECT hash, kind, name, scopes, created, expires FROM token"  # noqa: S105


class DatabaseStore:
    """A `Store`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.beside = database.beside
        self._sql = database.statements

    @asynccontextmanager
    async def writing(self, give_way: Callable[[], bool] | None = None) -> AsyncIterator[Writing]:
        async with self._database.writing() as writer:
            session = Polite(writer, give_way) if give_way else writer
            row = (await session.rows(self._sql.lock_hub, few=True))[0]
            yield Transaction(self._database, session, HubRow._make(row))
            if self._sql.notify:
                await session.rows(self._sql.notify)
        self._database.bell.ring()

    async def _rows(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        async with self._database.reading() as session:
            return await session.rows(sql, *parameters)

    async def _among(self, sql: str, keys: Sequence[str], *parameters: Any) -> list[tuple[Any, ...]]:
        async with self._database.reading() as session:
            return await session.among(sql, keys, *parameters)

    async def _change(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        async with self._database.changing() as session:
            return await session.rows(sql, *parameters)

    async def hub(self) -> HubRow:
        return HubRow._make((await self._rows(_HUB))[0])

    async def offsets(self, topic: str) -> dict[int, int]:
        rows = await self._rows("SELECT partition, next FROM bus_offset WHERE topic = ?", topic)
        return dict(rows)

    async def registers(self, keys: Sequence[str]) -> dict[str, bytes]:
        return {key: unpacked(registers) for key, registers, *_ in await self._among(self._sql.objects, keys)}

    # -- feed and publish
    async def changes(self, after: int, limit: int, *, at_most: int | None = None) -> tuple[HubRow, list[CustomerRow]]:
        return await self._changes(
            f"SELECT {COLUMNS} FROM customer c WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?",
            after, NO_SEQ if at_most is None else at_most, limit,
        )  # fmt: skip

    async def on_the_phone(self, after: int, limit: int, at_most: int) -> tuple[HubRow, list[CustomerRow]]:
        return await self._changes(self._sql.on_the_phone, after, at_most, limit)

    async def _changes(self, sql: str, after: int, at_most: int, limit: int) -> tuple[HubRow, list[CustomerRow]]:
        # One statement is one snapshot on both databases, and one way there and back.
        rows = await self._rows(
            f"""SELECT h.generation, h.seq, h.fold_revision, h.kind, h.secret, h.rules, {COLUMNS}
                FROM hub h LEFT JOIN ({sql}) c ON true ORDER BY c.seq""",
            after, at_most, limit,
        )  # fmt: skip
        return HubRow._make(rows[0][:6]), [to_customer(row[6:]) for row in rows if row[6] is not None]

    async def published(self) -> int:
        return int((await self._rows("SELECT seq FROM published"))[0][0])

    async def set_published(self, old: int, new: int) -> bool:
        return bool(await self._change("UPDATE published SET seq = ? WHERE seq = ? RETURNING 1", new, old))

    async def parts(self, seqs: Mapping[str, int], after: int) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for customer, entity, seq in await self._among(self._sql.parts, list(seqs), after):
            if seq <= seqs[customer]:
                found.setdefault(customer, set()).add(entity)
        return found

    @asynccontextmanager
    async def notified(self, timeout: float) -> AsyncIterator[Notices]:
        with self._database.bell.listening(timeout) as ticks:
            await self._database.listen()
            yield ticks

    # -- look-ups
    async def customer(self, id: str) -> CustomerRow | None:
        # The person's present customer first: an id that merged away, or came back by a split, is not asked.
        rows = await self._rows(
            f"""SELECT {COLUMNS}, 0 AS rank FROM person p JOIN customer c ON c.id = p.customer WHERE p.birth_id = ?
                UNION ALL SELECT {COLUMNS}, 1 AS rank FROM customer c WHERE c.id = ? ORDER BY rank LIMIT 1""",
            id, id,
        )  # fmt: skip
        return to_customer(rows[0][:-1]) if rows else None

    async def customers_by_id(self, ids: Sequence[str]) -> list[CustomerRow]:
        return [to_customer(row) for row in await self._among(self._sql.customers, ids)]

    async def by_identifier(self, identifier: str) -> list[PersonRow]:
        async with self._database.reading() as session:
            pairs = await session.each(self._sql.holders, [identifier], _HOLDERS)
            return to_persons(await session.among(self._sql.persons, [person for _, person in pairs][:_HOLDERS]))

    async def persons_by_key(self, keys: Sequence[str]) -> list[PersonRow]:
        return to_persons(await self._among(self._sql.persons, keys))

    async def person_keys(self, customer: str) -> list[PersonRow]:
        return to_persons(await self._among(self._sql.persons_of, [customer]))

    async def search(self, words: str, limit: int, after: str = "") -> list[CustomerRow]:
        async with self._database.reading() as session:
            return await search.search(session, self._database, words, limit, after)

    async def timeline(self, persons: Sequence[str], before: tuple[str, str] | None, limit: int) -> list[ActivityRow]:
        # Above every RFC 3339 time where there is no bound.
        at, key = before or ("~", "")
        async with self._database.reading() as session:
            rows = to_activities(await session.each(self._sql.timeline, persons, at, key, limit))
        # One activity of two of the customer's persons is one line.
        return list({row.object: row for row in reversed(rows)}.values())[::-1][:limit]

    async def object(self, key: str) -> ObjectRow | None:
        return next(iter(await self.objects_by_key([key])), None)

    async def objects_by_key(self, keys: Sequence[str]) -> list[ObjectRow]:
        return [to_object(row) for row in await self._among(self._sql.full_objects, keys)]

    async def articles(self, words: Sequence[str], limit: int) -> list[ObjectRow]:
        found = distinct(words)[:MOST_WORDS]
        return [to_object(row) for row in await self._among(self._sql.articles, found, limit)]

    async def verified_articles(self) -> int:
        ((count,),) = await self._rows("SELECT count(*) FROM article WHERE verified")
        return int(count)

    async def counts(self) -> dict[tuple[str, str], int]:
        # From the index `object_live` alone; live customers are the rows of `customer_words`.
        rows = await self._rows(
            """SELECT source, entity, count(*) FROM object WHERE live GROUP BY source, entity
               UNION ALL SELECT '', 'customer', count(*) FROM customer_words"""
        )
        return {(source, entity): count for source, entity, count in rows}

    # -- dead letters
    async def dead(self, state: str, limit: int, after: str = "") -> list[DeadRow]:
        at, id = 2**62, ""
        if after:
            last = await self.dead_letter(after)
            at, id = (last.at, last.id) if last else (-1, "")
        rows = await self._rows(
            f"{_DEAD} WHERE state = ? AND (at, id) < (?, ?) ORDER BY at DESC, id DESC LIMIT ?", state, at, id, limit
        )
        return [DeadRow._make(row) for row in rows]

    async def dead_letter(self, id: str) -> DeadRow | None:
        rows = await self._rows(f"{_DEAD} WHERE id = ?", id)
        return DeadRow._make(rows[0]) if rows else None

    async def set_dead(self, ids: Sequence[str], state: str) -> int:
        async with self._database.changing() as session:
            return len(await session.among(self._sql.set_dead, ids, state))

    async def dead_counts(self) -> dict[str, int]:
        rows = await self._rows("SELECT connection, count(*) FROM dead WHERE state = 'open' GROUP BY connection")
        return dict(rows)

    # -- ledger
    async def ledger(self, since: int, connection: str | None = None) -> list[LedgerRow]:
        if connection is None:
            # PostgreSQL's sum of bigint is numeric.
            counts = ", ".join(f"CAST(sum({name}) AS bigint)" for name in ("received", "missing", "early", "repaired"))
            rows = await self._rows(
                f"SELECT connection, stream, way, {counts} FROM ledger WHERE hour >= ? GROUP BY 1, 2, 3",
                since,
            )
            return [LedgerRow(name, since, *rest) for name, *rest in rows]
        rows = await self._rows(
            """SELECT connection, hour, stream, way, received, missing, early, repaired FROM ledger
               WHERE connection = ? AND hour >= ? ORDER BY hour DESC, stream, way""",
            connection, since,
        )  # fmt: skip
        return [LedgerRow._make(row) for row in rows]

    async def repairs(self, connection: str, limit: int) -> list[RepairRow]:
        rows = await self._rows(
            """SELECT connection, key, at, stream, way, found FROM repair
               WHERE connection = ? ORDER BY at DESC, key DESC LIMIT ?""",
            connection, limit,
        )  # fmt: skip
        return [RepairRow._make(row) for row in rows]

    async def trim(self, hours: int, letters: int) -> None:
        await self._change("DELETE FROM ledger WHERE hour < ?", hours)
        await self._change("DELETE FROM dead WHERE state IN ('open', 'replayed', 'discarded') AND at < ?", letters)

    async def live_keys(self, prefix: str, after: str, limit: int) -> list[str]:
        rows = await self._rows(KEYS_BELOW.format("AND live"), *below(prefix, after), limit)
        return [key for (key,) in rows]

    # -- tokens
    async def put_token(self, row: TokenRow) -> None:
        async with self._database.changing() as session:
            await session.rows(
                """INSERT INTO token (hash, kind, name, scopes, created, expires) VALUES (?, ?, ?, ?, ?, ?)
                   ON CONFLICT (hash) DO UPDATE SET kind = excluded.kind, name = excluded.name,
                       scopes = excluded.scopes, created = excluded.created, expires = excluded.expires""",
                *row,
            )  # fmt: skip
            # Sessions and unused logins would pile up; the newcomer's clock says which are over.
            await session.rows("DELETE FROM token WHERE expires > 0 AND expires < ?", row.created)

    async def token(self, hash: bytes) -> TokenRow | None:
        rows = await self._rows(f"{_TOKEN} WHERE hash = ?", hash)
        return TokenRow._make(rows[0]) if rows else None

    async def take_token(self, hash: bytes) -> TokenRow | None:
        rows = await self._change(
            "DELETE FROM token WHERE hash = ? RETURNING hash, kind, name, scopes, created, expires", hash
        )
        return TokenRow._make(rows[0]) if rows else None

    async def tokens(self, kind: str) -> list[TokenRow]:
        return [TokenRow._make(row) for row in await self._rows(f"{_TOKEN} WHERE kind = ? ORDER BY name, hash", kind)]

    async def drop_token(self, name: str) -> int:
        return len(await self._change("DELETE FROM token WHERE kind = 'token' AND name = ? RETURNING 1", name))

    # -- connection state
    async def put_state(self, connection: str, process: str, document: bytes, at: int) -> None:
        await self._change(
            """INSERT INTO connection_state (connection, process, document, at) VALUES (?, ?, ?, ?)
               ON CONFLICT (connection, process) DO UPDATE SET document = excluded.document, at = excluded.at""",
            connection, process, document, at,
        )  # fmt: skip

    async def states(self) -> list[tuple[str, str, bytes, int]]:
        rows = await self._rows(
            "SELECT connection, process, document, at FROM connection_state ORDER BY connection, process"
        )
        return [(connection, process, document, at) for connection, process, document, at in rows]

    async def trim_states(self, before: int) -> None:
        said = set[tuple[str, Any]]()  # connection and source, None for none, by the rows that are newer
        for connection, process, document, at in sorted(await self.states(), key=lambda row: row[3], reverse=True):
            its = orjson.loads(document)
            source = (its.get("connector"), account) if (account := its.get("account")) else None
            if at < before and (connection, source) in said:
                await self._change(
                    "DELETE FROM connection_state WHERE connection = ? AND process = ? AND at = ?",
                    connection, process, at,
                )  # fmt: skip
            said |= {(connection, source), (connection, None)}

    async def drop_states(self, connection: str) -> None:
        await self._change("DELETE FROM connection_state WHERE connection = ?", connection)

    async def close(self) -> None:
        await self._database.close()
