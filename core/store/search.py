"""Look-up of customers by words, newest change first, at a bounded cost however common the words are."""

from collections.abc import Sequence

from core.store import CustomerRow
from core.store.database import Database, Session
from core.store.packing import to_customer
from core.store.words import distinct, words

COLUMNS = 'c.id, c.seq, c.status, c."into", c.hash, c.record, c.search, c.cause, c.identity'
NO_SEQ = 2**62  # above every seq
MOST_WORDS = 30  # of a query
_COMMON = 2_000  # customers that have the words, from which on all of them are not sorted any more
_PAGE = 500
_PAGES = 40


async def search(session: Session, database: Database, text: str, limit: int, after: str) -> list[CustomerRow]:
    """See `Store.search`."""
    wanted = distinct([text])[:MOST_WORDS]
    if text.strip() and not wanted:
        return []  # nothing but signs
    below = await _seq(session, after) if after else NO_SEQ
    if not wanted:
        return await _newest(session, limit, below)
    query = database.match(wanted)
    ((matches,),) = await session.rows(database.statements.matches, query, _COMMON)
    found: list[CustomerRow] = []
    if matches == _COMMON:
        found, below = await _walk(session, database, wanted, limit, below)
    if len(found) < limit and below > 0:
        rest = await session.rows(database.statements.search, query, below, limit - len(found))
        found += map(to_customer, rest)
    return found


async def _seq(session: Session, id: str) -> int:
    """Where the page before ended; below every seq for an id that is nobody's."""
    rows = await session.rows("SELECT seq FROM customer WHERE id = ?", id)
    return int(rows[0][0]) if rows else -1


async def _newest(session: Session, limit: int, below: int) -> list[CustomerRow]:
    sql = f"SELECT {COLUMNS} FROM customer c WHERE c.status = 'live' AND c.seq < ? ORDER BY c.seq DESC LIMIT ?"  # noqa: S608
    return [to_customer(row) for row in await session.rows(sql, below, limit)]


async def _walk(
    session: Session, database: Database, wanted: Sequence[str], limit: int, below: int
) -> tuple[list[CustomerRow], int]:
    """From the newest customer down: of common words enough are found soon, where the index would give most customers,
    all to be sorted. Returns them and the seq that the walk came to; 0: to the end."""
    found: list[str] = []
    for _ in range(_PAGES):
        page = await session.rows(
            "SELECT seq, id, search FROM customer WHERE status = 'live' AND seq < ? ORDER BY seq DESC LIMIT ?",
            below, _PAGE,
        )  # fmt: skip
        for seq, id, text in page:
            below = seq
            if _has(text, wanted):
                found.append(id)
                if len(found) == limit:
                    break
        if len(found) == limit or len(page) < _PAGE:
            below = below if len(found) == limit else 0
            break
    rows = map(to_customer, await session.among(database.statements.customers, found))
    return sorted((row for row in rows if row.status == "live"), key=lambda row: -row.seq), below


def _has(text: str, wanted: Sequence[str]) -> bool:
    """Whether every word begins a word of the text."""
    own = words(text)
    return all(any(word.startswith(begin) for word in own) for begin in wanted)
