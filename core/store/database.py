"""What a database must be able to do to carry the store, and the statements that each writes in its own dialect."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Protocol

from core.errors import PermanentError
from core.store.notices import Bell

PATIENCE = 15.0  # seconds that a writer of another process is waited for
# Of an activity `o`: it lives, and so does the conversation that it is part of. One that was never heard of counts as
# there, and so does a merged one, which has a parent. No EXISTS: for that PostgreSQL might read all objects at once.
SHOWN = """o.live AND coalesce(
    (SELECT c.live OR c.parent IS NOT NULL OR c.entity <> 'conversation' FROM object c WHERE c.key = o.parent), true)"""
Rows = list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Put:
    """A statement over a batch of whole rows. `kinds` are PostgreSQL's types of the columns in order; `key` how many
    of them, the first ones, are the row's key; `searched`: by words, so that even a few rows may take long."""

    name: str
    sql: str
    kinds: tuple[str, ...]
    key: int = 1
    searched: bool = False

    def check(self, rows: Sequence[Sequence[Any]]) -> None:
        """Raise PermanentError where one upsert has a key twice: PostgreSQL refuses it, SQLite would take it silently
        and keep the last one."""
        if len(set(map(itemgetter(*range(self.key)), rows))) != len(rows):
            raise PermanentError(f"one batch puts the same {self.name} twice")


class Session(Protocol):
    """One connection for the length of a transaction or of one look-up. `?` stands for a parameter in both dialects;
    driver exceptions come out as ours."""

    async def rows(self, sql: str, *parameters: Any, few: bool = False) -> Rows:
        """`few`: of a table that stays small, so that it takes microseconds."""
        ...

    async def among(self, sql: str, keys: Iterable[str], *parameters: Any) -> Rows:
        """The statement's first parameter is the set of keys."""
        ...

    async def each(self, sql: str, keys: Iterable[str], *parameters: Any) -> Rows:
        """What the statement gives for each of the keys by itself, with the same bounds for each."""
        ...


class Writer(Session, Protocol):
    """A session of the one writer. `lot`: see Writing."""

    lot: int

    async def put(self, put: Put, rows: Sequence[Sequence[Any]]) -> None:
        """May return before it is done; what fails then fails the next call that gives rows, or the commit."""
        ...


class Database(Protocol):
    """Connections. `reading` never waits for a writer; `changing` commits one short change without the hub's lock;
    `writing` is the one writer's transaction, its hub row locked."""

    statements: "Statements"
    beside: bool  # see Store
    bell: Bell

    def reading(self) -> AbstractAsyncContextManager[Session]: ...
    def changing(self) -> AbstractAsyncContextManager[Session]: ...
    def writing(self) -> AbstractAsyncContextManager[Writer]: ...
    async def listen(self) -> None:
        """Ring the bell from now on for other processes' commits, too; further calls change nothing."""
        ...

    def match(self, words: Sequence[str]) -> str:
        """The dialect's full text query: every word begins one of the text's words."""
        ...

    def words(self, text: str) -> str:
        """What the dialect's index of words takes."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Statements:
    """The hot statements. `among` and `each` in the comments say how Session runs them; the rest are plain rows."""

    lock_hub: str
    objects: str  # among
    put_object: Put
    put_article: Put
    drop_articles: str  # among
    parties: str  # among objects
    drop_party: Put
    put_party: Put
    set_live: str  # among objects: whether they, and what is part of them, are shown
    children: str  # among parents: key, parent
    persons: str  # among
    persons_of: str  # among customers
    aliases_to: str  # among
    put_person: Put
    named: str  # among persons
    entities: str  # among persons
    drop_persons: str  # among
    set_customer: Put
    evidence: str  # among persons
    drop_evidence: Put
    put_evidence: Put
    holders: str  # each identifier: (identifier, person), those by evidence and as many implied ones
    activities: str  # each person: how many of the newest
    open_activities: str  # each person: how many of the oldest open ones
    timeline: str  # each person: before at, before object, limit
    customers: str  # among
    on_the_phone: str  # above seq, at most seq, limit: those with an open call
    heads: str  # among
    put_customer: Put
    put_words: Put
    drop_words: str  # among
    put_part: Put
    forget_identity: str  # among
    parts: str  # among
    suppressed: str  # among
    put_suppressed: Put
    put_dead: Put
    put_ledger: Put
    put_repair: Put
    put_offset: Put
    set_dead: str  # among
    matches: str  # query, limit: a count that stops there
    search: str  # query, below seq, limit
    articles: str  # among words: limit
    drop_objects: str  # among
    full_objects: str  # among
    notify: str | None = None
