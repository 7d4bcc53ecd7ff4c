"""Bounded reads, proven by what the databases say that they do, not by time."""

import json
import re
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest

from core.store import CustomerRow, Store, postgres_statements, sqlite_statements
from core.store.database import Put, Rows, Session, Statements
from core.store.lookups import DatabaseStore
from core.store.postgres import SETTINGS, open_postgres
from core.store.search import search
from core.store.sqlite import open_sqlite
from tests.contracts.store_rows import customer, party, person, thing

MANY = 100_000
RECENT, OPEN = 5, 3
ONE = '["p"]'
# Each statement with parameters as SQLite takes them; on PostgreSQL the keys are an array.
BOUNDED: dict[str, tuple[Any, ...]] = {
    "activities": ("p", RECENT),
    "open_activities": ("p", OPEN),
    "timeline": ("p", "2026-06", "v/a/call/500", RECENT),
    "named": (ONE,),
    "holders": ("phone:1", 21),
    "objects": (ONE,),
    "parties": (ONE,),
    "children": (ONE,),
    "set_live": (ONE,),
    "persons": (ONE,),
    "persons_of": (ONE,),
    "aliases_to": (ONE,),
    "evidence": (ONE,),
    "heads": (ONE,),
    "customers": (ONE,),
    "on_the_phone": (5, 10_000, 5),
    "parts": (ONE, 5),
    "suppressed": (ONE,),
    "full_objects": (ONE,),
    "search": ("'ann4242':*", 10_000, 5),
    "articles": (ONE, 5),
}


async def fill(store: Store) -> None:
    """One person with 100,000 activities, some open, the newest half deleted; a few others, one on the phone."""
    async with store.writing() as tx:
        await tx.put_persons([person(f"p{n}", customer=f"c{n}") for n in range(1, 5_000)])
        await tx.put_parties(["v/a/call/x"], [party("v/a/call/x", "p42", open=True)._replace(entity="call")])
        await tx.put_customers([customer(f"c{n}", n, f"Ann{n}") for n in range(1, 5_000)])
        await tx.put_objects([thing(f"v/a/article/{n}", "article", text=f"Ben{n}") for n in range(500)])
    for first in range(0, MANY, 10_000):
        keys = [f"v/a/call/{n}" for n in range(first, first + 10_000)]
        live = first < MANY // 2
        rows = [party(key, "p", f"2026-{n % 12 + 1:02}", open=n % 7 == 0) for n, key in enumerate(keys)]
        async with store.writing() as tx:
            await tx.put_objects([thing(key, card=b"{}" if live else None) for key in keys])
            await tx.put_parties(keys, [row._replace(at=row.at if live else "2027") for row in rows])
    async with store.writing() as tx:
        assert [row.at for row in await tx.activities(["p"], RECENT, 0)] == ["2026-12"] * RECENT
        assert [row.at for row in await tx.activities(["p"], 0, OPEN)] == ["2026-01"] * OPEN


@pytest.mark.slow
async def test_sqlite_reads_by_index_alone(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path / "store.db", kind="real") as store:
        await fill(store)
    connection = sqlite3.connect(tmp_path / "store.db")
    for name, parameters in BOUNDED.items():
        sql = getattr(sqlite_statements.STATEMENTS, name)
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]
        tables = [step for step in plan if "json_each" not in step and "VIRTUAL TABLE" not in step]
        if name == "on_the_phone":  # its index is of open calls alone: read from end to end
            tables = [step for step in tables if not re.match(r"SCAN (p USING INDEX party_call$|w$)", step)]
        assert not [step for step in tables if re.match(r"SCAN (?!p$|\(subquery)", step)], (name, plan)
        if name in ("activities", "open_activities", "timeline"):
            index = "party_open" if name == "open_activities" else "party_newest"
            assert any(f"{index} (person=?" in step for step in plan), plan
            # A sort would mean that all of the person's activities were read first.
            assert not any("ORDER BY" in step for step in plan), plan
    connection.close()


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", ()) for node in nodes(child))]


@pytest.mark.slow
@pytest.mark.postgres
async def test_postgres_reads_by_index_alone(postgres_url: str, postgres_schema: str) -> None:
    async with open_postgres(postgres_url, kind="real", schema=postgres_schema) as store:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(f"SET search_path = {postgres_schema}")
            for name, value in SETTINGS.items():
                connection.execute(f"SET {name} = '{value}'")
            check(connection, postgres_statements.STATEMENTS, most=10)  # as planned while nothing was there
            await fill(store)
            check(connection, postgres_statements.STATEMENTS, most=10)


def check(connection: psycopg.Connection[Any], statements: Statements, *, most: int) -> None:
    for name, given in BOUNDED.items():
        first = given[0] if name in ("search", "on_the_phone") else [given[0]] if given[0] != ONE else json.loads(ONE)
        sql = f"EXPLAIN (ANALYZE, FORMAT JSON) {getattr(statements, name).replace('?', '%b')}"
        ((plan,),) = connection.execute(sql, (first, *given[1:]), prepare=True).fetchall()
        for node in nodes(plan[0]["Plan"]):
            assert node["Node Type"] != "Seq Scan", (name, node)
            if "Relation Name" in node:
                read = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
                assert read * node["Actual Loops"] <= most, (name, node)


class Listed:
    """A session that keeps the statements that went through it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.statements: list[str] = []

    async def rows(self, sql: str, *parameters: Any) -> Rows:
        self.statements.append(sql)
        return await self._session.rows(sql, *parameters)

    async def among(self, sql: str, keys: Iterable[str], *parameters: Any) -> Rows:
        return await self._session.among(sql, keys, *parameters)

    async def each(self, sql: str, keys: Iterable[str], *parameters: Any) -> Rows:
        return await self._session.each(sql, keys, *parameters)

    async def put(self, put: Put, rows: Sequence[Sequence[Any]]) -> None:
        await self._session.put(put, rows)


async def test_words_that_many_have_are_found_from_the_newest_on_without_sorting_all(store: DatabaseStore) -> None:
    rows = [customer(f"c{n:04}", n, f"Ann shop{n % 2}.example.com") for n in range(1, 5_001)]
    async with store.writing() as tx:
        await tx.put_customers([*rows[:-1], rows[-1]._replace(status="merged")])
    async with store._database.reading() as session:
        listed = Listed(session)
        for text, expected in (("ann", rows[-2::-1]), ("shop1 ANN", rows[-2::-2])):
            found: list[CustomerRow] = []
            while len(found) < 60:
                found += await search(listed, store._database, text, 20, found[-1].id if found else "")
            assert found == expected[:60]
        assert store._database.statements.search not in listed.statements
        assert [row.id for row in await search(listed, store._database, "ann", 20, "c0003")] == ["c0002", "c0001"]
        assert await search(listed, store._database, "ann shop0", 10_000, "") == rows[1:-1:2][::-1]
