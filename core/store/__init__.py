"""The store: objects, evidence, persons, customers, dead letters. One interface, SQLite and PostgreSQL behind it.

All statements are set-based: arguments and results are whole batches, never one row per event. Rows are plain tuples,
so that they pass to a driver as they are. Everything that needs a batch to be complete happens in one `writing()`.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol


class HubRow(NamedTuple):
    """The one row of the hub: `seq` counts versions of this `generation`; `secret` keys the birth ids; `kind` is
    `demo` or `real`, marked at birth. `rules` is process's digest of what the records were last folded by; empty where
    an older hub folded them."""

    generation: int
    seq: int
    fold_revision: int
    kind: str
    secret: bytes
    rules: str


class ObjectRow(NamedTuple):
    """A source object. `registers` is projection's own JSON; `card` its rendered piece of the record (None: gone).

    `parent` is what it is part of: the conversation of a message or rating, or what a merged one went into. While a
    conversation is gone (neither card nor parent), its parts are not shown. `text` is what full text search finds.
    """

    key: str
    entity: str
    parent: str | None
    registers: bytes
    card: bytes | None
    text: str | None = None


class PartyRow(NamedTuple):
    """A source person's part in an activity. `at` sorts the timeline (RFC 3339); `open` activities need work."""

    object: str
    person: str
    role: str
    entity: str
    at: str
    open: bool


class PersonRow(NamedTuple):
    """A source person. `implied`: the canonical identifier of one without a contact. `customer` is the current
    customer's id. `alias_of` the key into which the source merged this one. `names` are full names, newline-separated.
    `departed`: deleted at the source, perhaps merged besides. `state`: projection's own JSON of the person's visible
    fields (None: implied)."""

    key: str
    birth_id: str
    customer: str
    implied: str | None
    first: int
    staff: bool
    departed: bool
    alias_of: str | None
    names: str
    state: bytes | None

    @property
    def findable(self) -> bool:
        """Staff are not, nor is who is gone and no part of somebody else."""
        return not (self.staff or (self.departed and not self.alias_of))


class EvidenceRow(NamedTuple):
    person: str
    identifier: str
    class_: str
    former: bool


class ActivityRow(NamedTuple):
    """A card as one person's customer sees it."""

    person: str
    object: str
    role: str
    entity: str
    at: str
    open: bool
    card: bytes


class CustomerRow(NamedTuple):
    """A customer as published. `record` is the JSON without version; `search` what look-up by words finds;
    `cause` JSON: why this version came to be; `status` live, merged or erased; `into` the id it merged into;
    `identity` process's own JSON of what the last partition said of it."""

    id: str
    seq: int
    status: str
    into: str | None
    hash: bytes
    record: bytes
    search: str
    cause: bytes
    identity: bytes


class CustomerHead(NamedTuple):
    """What process needs of a customer without reading the record."""

    id: str
    seq: int
    status: str
    hash: bytes
    identity: bytes


class DeadRow(NamedTuple):
    """A dead letter. `id` derives from the input, so that a redelivery is the same letter. `stage`: normalize, fold,
    hydrate. `state`: open, replayed, discarded. `at` is epoch ms."""

    id: str
    connection: str
    stage: str
    reason: str
    payload: bytes
    at: int
    state: str
    times: int


class LedgerRow(NamedTuple):
    """What came within one hour (epoch ms of its beginning) over one connection. `stream` is empty for what was pushed,
    `way` as in core.bus.codec.Origin; the counts are of events. See core/ledger.py for what they mean."""

    connection: str
    hour: int
    stream: str
    way: str
    received: int
    missing: int
    early: int
    repaired: int


class RepairRow(NamedTuple):
    """An object that a sweep or a listing repaired last `at` (epoch ms). `found`: new, newer or gone."""

    connection: str
    key: str
    at: int
    stream: str
    way: str
    found: str


class TokenRow(NamedTuple):
    """An access token or login session, by the SHA-256 of its secret. `kind`: token, login (once), session. Times are
    epoch ms; `expires` 0: never."""

    hash: bytes
    kind: str
    name: str
    scopes: str
    created: int
    expires: int


class Writing(Protocol):
    """One transaction of the one writer. Leaving without exception commits; anything else rolls back."""

    hub: HubRow
    lot: int  # how many records to hand over at a time, so that the database works while the next are computed

    async def breathe(self) -> None:
        """Between two computations: a transaction that gives way does it here as well. Elsewhere it costs nothing."""
        ...

    async def move_offsets(self, moves: Sequence[tuple[str, int, int, int]]) -> None:
        """(topic, partition, from, to): compare-and-set; an unknown partition counts as stored at `from`. Raises
        OffsetsMoved with the stored ones where any does not match."""
        ...

    async def suppressed(self, keys: Sequence[str]) -> set[str]: ...
    async def suppress(self, keys: Sequence[str], at: int) -> None: ...
    async def objects(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Registers by key; unknown keys are absent."""
        ...

    async def put_objects(self, rows: Sequence[ObjectRow]) -> None: ...
    async def children(self, parents: Sequence[str]) -> dict[str, str]: ...  # key to parent of what is part of these
    async def put_parties(self, objects: Sequence[str], rows: Sequence[PartyRow]) -> list[tuple[str, str]]:
        """Replace all parties of these objects. Returns (object, person) pairs that were removed."""
        ...

    async def persons(self, keys: Sequence[str]) -> list[PersonRow]: ...
    async def persons_of(self, customers: Sequence[str]) -> list[PersonRow]: ...
    async def put_persons(self, rows: Sequence[PersonRow]) -> None: ...
    async def unnamed(self, persons: Sequence[str]) -> set[str]:
        """Those of these persons whom no activity that is shown names."""
        ...

    async def entities(self, persons: Sequence[str]) -> dict[str, set[str]]:
        """The types of each one's activities that are shown."""
        ...

    async def drop_persons(self, keys: Sequence[str]) -> None:
        """For persons whom only activities named; they have no evidence."""
        ...

    async def set_customers(self, pairs: Sequence[tuple[str, str]]) -> None:
        """(person key, customer id): move these persons."""
        ...

    async def aliases_to(self, keys: Sequence[str]) -> list[PersonRow]:
        """Persons whose `alias_of` is one of these."""
        ...

    async def evidence(self, persons: Sequence[str]) -> list[EvidenceRow]: ...
    async def put_evidence(self, persons: Sequence[str], rows: Sequence[EvidenceRow]) -> None:
        """Replace all evidence of these persons."""
        ...

    async def holders(self, identifiers: Sequence[str], at_most: int) -> dict[str, list[str]]:
        """Persons per identifier (implied ones included), at most `at_most + 1` each: more means shared."""
        ...

    async def activities(self, persons: Sequence[str], recent: int, open_: int) -> list[ActivityRow]:
        """Per person the `recent` newest and the `open_` oldest open activities that are shown, without doubles."""
        ...

    async def heads(self, ids: Sequence[str]) -> dict[str, CustomerHead]: ...
    async def put_customers(self, rows: Sequence[CustomerRow], parts: Sequence[tuple[str, str, int]] = ()) -> None:
        """Also (customer id, entity type, seq): which parts of records changed, and when."""
        ...

    async def forget_identity(self, customers: Sequence[str]) -> None:
        """What their records are made of is not what stands there: they could not be folded."""
        ...

    async def parts(self, customers: Sequence[str]) -> dict[str, set[str]]:
        """Entity types per customer that ever changed."""
        ...

    async def put_dead(self, rows: Sequence[DeadRow]) -> None:
        """A letter that is known already counts one up and is open again."""
        ...

    async def put_ledger(self, rows: Sequence[LedgerRow], repairs: Sequence[RepairRow]) -> None:
        """Add to the ledger's counts. Of each connection's repairs the newest 1,000 objects are kept."""
        ...

    async def set_seq(self, seq: int) -> None: ...
    async def all_object_keys(self, after: str, limit: int) -> list[str]:
        """For a rebuild: the keys behind `after`, in order."""
        ...

    async def object_keys(self, prefix: str, after: str, limit: int) -> list[str]:
        """Keys that begin with `prefix` (vendor/account/), those behind `after`, in order; also of what is gone."""
        ...

    async def drop_objects(self, keys: Sequence[str]) -> None:
        """As if they had never been put; their parties are the caller's to take out."""
        ...

    async def drop_connection(self, connection: str) -> None:
        """Its dead letters, its ledger and its repairs."""
        ...

    async def new_generation(self, fold_revision: int, rules: str) -> HubRow: ...
    async def set_rules(self, rules: str) -> None: ...


class Store(Protocol):
    """Raises TransientError where the database is down, busy or out of disk. `beside`: it works in processes of its
    own, so that what is computed meanwhile costs nothing."""

    beside: bool

    def writing(self, give_way: Callable[[], bool] | None = None) -> AbstractAsyncContextManager[Writing]:
        """Begin, lock the hub row first and alone (one writer at a time), read it. Once `give_way` answers so, the next
        statement, or breath, raises GaveWay instead, and all is rolled back."""
        ...

    async def hub(self) -> HubRow: ...
    async def offsets(self, topic: str) -> dict[int, int]: ...
    async def registers(self, keys: Sequence[str]) -> dict[str, bytes]:
        """As Writing.objects, outside of a transaction: what it says may be old by the time that it is used."""
        ...

    # -- feed and publish
    async def changes(self, after: int, limit: int, *, at_most: int | None = None) -> tuple[HubRow, list[CustomerRow]]:
        """Customers with `seq` above `after` in order, and the hub row of the same snapshot."""
        ...

    async def on_the_phone(self, after: int, limit: int, at_most: int) -> tuple[HubRow, list[CustomerRow]]:
        """As `changes`, but only customers with a call that rings or goes on."""
        ...

    async def published(self) -> int: ...
    async def set_published(self, old: int, new: int) -> bool:
        """Compare-and-set; False where somebody else moved it."""
        ...

    async def parts(self, seqs: Mapping[str, int], after: int) -> dict[str, set[str]]:
        """Entity types per customer that last changed above `after`, and not later than the customer's seq given:
        what changed again since the customer was read is told with its next change."""
        ...

    def notified(self, timeout: float) -> AbstractAsyncContextManager["Notices"]:
        """See Notices."""
        ...

    # -- look-ups
    async def customer(self, id: str) -> CustomerRow | None:
        """By any id that was ever a birth id: also through the person that it was made for."""
        ...

    async def customers_by_id(self, ids: Sequence[str]) -> list[CustomerRow]: ...
    async def by_identifier(self, identifier: str) -> list[PersonRow]:
        """All persons, implied ones included, that hold a canonical identifier; at most 200."""
        ...

    async def persons_by_key(self, keys: Sequence[str]) -> list[PersonRow]: ...
    async def person_keys(self, customer: str) -> list[PersonRow]: ...
    async def search(self, words: str, limit: int, after: str = "") -> list[CustomerRow]:
        """Live customers in whose `search` text every word begins a word; newest change first; empty: all.
        `after` is the id of the last one of the page before."""
        ...

    async def timeline(self, persons: Sequence[str], before: tuple[str, str] | None, limit: int) -> list[ActivityRow]:
        """Activities newest first, by (at, object) descending below `before`."""
        ...

    async def object(self, key: str) -> ObjectRow | None: ...
    async def objects_by_key(self, keys: Sequence[str]) -> list[ObjectRow]: ...
    async def articles(self, words: Sequence[str], limit: int) -> list[ObjectRow]:
        """Articles whose text has any of the words, the best first; verified ones before others of equal rank."""
        ...

    async def verified_articles(self) -> int: ...
    async def counts(self) -> dict[tuple[str, str], int]:
        """Live objects per (vendor/account, entity), and ("", "customer")."""
        ...

    # -- dead letters
    async def dead(self, state: str, limit: int, after: str = "") -> list[DeadRow]: ...
    async def dead_letter(self, id: str) -> DeadRow | None: ...
    async def set_dead(self, ids: Sequence[str], state: str) -> int: ...
    async def dead_counts(self) -> dict[str, int]:
        """Open letters per connection."""
        ...

    # -- ledger
    async def ledger(self, since: int, connection: str | None = None) -> list[LedgerRow]:
        """Without a connection: the sums from the hour `since` on (epoch ms) of all of them, `hour` being `since`.
        Of one: its hours, the newest first."""
        ...

    async def repairs(self, connection: str, limit: int) -> list[RepairRow]:
        """The newest first."""
        ...

    async def trim(self, hours: int, letters: int) -> None:
        """Forget the ledger's hours before `hours`, and dead letters of any state from before `letters` (epoch ms)."""
        ...

    async def live_keys(self, prefix: str, after: str, limit: int) -> list[str]:
        """Of live objects whose key begins with `prefix` (vendor/account/kind/), those behind `after`, in order."""
        ...

    # -- tokens
    async def put_token(self, row: TokenRow) -> None: ...
    async def token(self, hash: bytes) -> TokenRow | None: ...
    async def take_token(self, hash: bytes) -> TokenRow | None:
        """Return and delete it: for what works once."""
        ...

    async def tokens(self, kind: str) -> list[TokenRow]: ...
    async def drop_token(self, name: str) -> int:
        """Of kind `token`; sessions and logins may have the same name and stay. How many there were."""
        ...

    # -- connection state that is not on the bus, for status: one JSON document per connection
    async def put_state(self, connection: str, process: str, document: bytes, at: int) -> None: ...
    async def states(self) -> list[tuple[str, str, bytes, int]]: ...
    async def trim_states(self, before: int) -> None:
        """Forget what was said before (epoch ms), but not the last that was said of each account that a connection's
        name has stood for: a purge asks which of them is meant."""
        ...

    async def drop_states(self, connection: str) -> None: ...
    async def close(self) -> None: ...


class Notices(Protocol):
    """Wakes up after commits of any process."""

    def __aiter__(self) -> AsyncIterator[None]: ...
