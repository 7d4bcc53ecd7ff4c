"""The hot statements in PostgreSQL's dialect: keys and columns travel as arrays, one round trip for any batch."""
# ruff: noqa: S608 - put together from this file's own constants; values are parameters

from sqlalchemy import Table

from core.store import tables
from core.store.database import SHOWN, Put, Statements
from core.store.tables import kinds

_KEYS = "= ANY (?::text[])"
_PERSON = "key, birth_id, customer, implied, first, staff, departed, alias_of, names, state"
_PARTY = "object, person, role, entity, at, open"
_PARTY_KINDS = kinds(tables.PARTY, _PARTY.split(", "))
_CUSTOMER = 'c.id, c.seq, c.status, c."into", c.hash, c.record, c.search, c.cause, c.identity'
_ACTIVITY = "p.person, p.object, p.role, p.entity, p.at, p.open, o.card"


def _rows(types: tuple[str, ...]) -> str:
    """The batch as a table, one array a column."""
    return f"unnest({', '.join(f'?::{kind}[]' for kind in types)})"


def _upsert(table: Table, columns: str, *, updates: str | None = None) -> Put:
    """`updates` replaces the plain taking over of all columns."""
    names = [name.strip() for name in columns.split(",")]
    key = len(table.primary_key.columns)
    taken = updates or ", ".join(f'"{name}" = excluded."{name}"' for name in names[key:])
    quoted = ", ".join(f'"{name}"' for name in names)
    types = kinds(table, names)
    sql = (
        f"INSERT INTO {table.name} ({quoted}) SELECT * FROM {_rows(types)} "
        f"ON CONFLICT ({', '.join(names[:key])}) DO UPDATE SET {taken}"
    )
    return Put(table.name, sql, types, key)


_PAIR = ("text", "text")
STATEMENTS = Statements(
    lock_hub="SELECT generation, seq, fold_revision, kind, secret, rules FROM hub FOR UPDATE",
    objects=f"SELECT key, registers, live, parent FROM object WHERE key {_KEYS}",
    put_object=_upsert(tables.OBJECT, "key, source, entity, parent, live, registers, card, text"),
    put_article=Put(
        "article",
        f"""INSERT INTO article AS a (object, verified, words)
            SELECT object, verified, words::tsvector FROM {_rows(("text", "bool", "text"))} t(object, verified, words)
            ON CONFLICT (object) DO UPDATE SET verified = excluded.verified, words = excluded.words
            WHERE (a.verified, a.words) IS DISTINCT FROM (excluded.verified, excluded.words)""",
        ("text", "bool", "text"),
    ),
    drop_articles=f"DELETE FROM article WHERE object {_KEYS}",
    parties=f"SELECT {_PARTY} FROM party WHERE object {_KEYS}",
    drop_party=Put(
        "party",
        f"""DELETE FROM party p USING {_rows(_PAIR)} t(object, person)
            WHERE p.object = t.object AND p.person = t.person""",
        _PAIR,
        2,
    ),
    put_party=Put(
        "party",
        f"""INSERT INTO party (object, person, role, entity, at, open, live)
            SELECT t.*, coalesce({SHOWN}, false)
            FROM {_rows(_PARTY_KINDS)} t(object, person, role, entity, at, open) LEFT JOIN object o ON o.key = t.object
            ON CONFLICT (object, person) DO UPDATE SET role = excluded.role, entity = excluded.entity,
                at = excluded.at, open = excluded.open""",
        _PARTY_KINDS,
        2,
    ),
    set_live=f"""WITH k AS MATERIALIZED (SELECT unnest(?::text[]) AS key),
            these AS MATERIALIZED (SELECT key FROM k UNION SELECT c.key FROM k JOIN object c ON c.parent = k.key)
        UPDATE party p SET live = NOT p.live FROM these t JOIN object o ON o.key = t.key
        WHERE p.object = t.key AND p.live <> ({SHOWN})""",
    children=f"SELECT key, parent FROM object WHERE parent {_KEYS}",
    persons=f"SELECT {_PERSON} FROM person WHERE key {_KEYS}",
    persons_of=f"SELECT {_PERSON} FROM person WHERE customer {_KEYS}",
    aliases_to=f"SELECT {_PERSON} FROM person WHERE alias_of {_KEYS}",
    put_person=_upsert(tables.PERSON, _PERSON),
    named="""SELECT k.person FROM unnest(?::text[]) k(person)
        WHERE EXISTS (SELECT 1 FROM party p WHERE p.person = k.person AND p.live)""",
    entities=f"SELECT DISTINCT person, entity FROM party WHERE person {_KEYS} AND live",
    drop_persons=f"DELETE FROM person WHERE key {_KEYS}",
    set_customer=Put(
        "person",
        f"UPDATE person p SET customer = t.customer FROM {_rows(_PAIR)} t(key, customer) WHERE p.key = t.key",
        _PAIR,
    ),
    evidence=f"SELECT person, identifier, class, former FROM evidence WHERE person {_KEYS}",
    drop_evidence=Put(
        "evidence",
        f"""DELETE FROM evidence e USING {_rows(_PAIR)} t(person, identifier)
            WHERE e.person = t.person AND e.identifier = t.identifier""",
        _PAIR,
        2,
    ),
    put_evidence=_upsert(tables.EVIDENCE, "person, identifier, class, former"),
    holders="""SELECT k.identifier, h.person FROM unnest(?::text[]) k(identifier), (SELECT ?) m(n) CROSS JOIN LATERAL (
            (SELECT person FROM evidence WHERE identifier = k.identifier ORDER BY person LIMIT n)
            UNION ALL (SELECT key FROM person WHERE implied = k.identifier ORDER BY key LIMIT n)) h""",
    # Both inner queries walk an index from its end and stop; a plain UNION would sort all rows of the person.
    activities=f"""SELECT {_ACTIVITY} FROM unnest(?::text[]) k(person) CROSS JOIN LATERAL (
            SELECT * FROM party WHERE person = k.person AND live ORDER BY at DESC, object DESC LIMIT ?
        ) p JOIN object o ON o.key = p.object""",
    open_activities=f"""SELECT {_ACTIVITY} FROM unnest(?::text[]) k(person) CROSS JOIN LATERAL (
            SELECT * FROM party WHERE person = k.person AND live AND open ORDER BY at, object LIMIT ?
        ) p JOIN object o ON o.key = p.object""",
    timeline=f"""SELECT {_ACTIVITY} FROM unnest(?::text[]) k(person) CROSS JOIN LATERAL (
            SELECT * FROM party WHERE person = k.person AND live AND (at, object) < (?, ?)
            ORDER BY at DESC, object DESC LIMIT ?
        ) p JOIN object o ON o.key = p.object""",
    customers=f"SELECT {_CUSTOMER} FROM customer c WHERE c.id {_KEYS}",
    # The calls first: the other way round, they would be looked for among all customers.
    on_the_phone=f"""WITH w AS MATERIALIZED (
            SELECT DISTINCT e.customer FROM (SELECT person FROM party WHERE open AND entity = 'call' OFFSET 0) p
            CROSS JOIN LATERAL (SELECT customer FROM person WHERE key = p.person OFFSET 0) e)
        SELECT {_CUSTOMER} FROM w CROSS JOIN LATERAL (SELECT * FROM customer WHERE id = w.customer OFFSET 0) c
        WHERE c.seq > ? AND c.seq <= ? ORDER BY c.seq LIMIT ?""",
    forget_identity=f"UPDATE customer SET identity = '' WHERE id {_KEYS}",
    heads=f"SELECT id, seq, status, hash, identity, search FROM customer WHERE id {_KEYS}",
    put_customer=_upsert(tables.CUSTOMER, "id, seq, status, into, hash, record, search, cause, identity"),
    put_words=Put(
        "customer_words",
        f"""INSERT INTO customer_words AS w (customer, words)
            SELECT customer, words::tsvector FROM {_rows(_PAIR)} t(customer, words)
            ON CONFLICT (customer) DO UPDATE SET words = excluded.words
            WHERE w.words IS DISTINCT FROM excluded.words""",
        _PAIR,
    ),
    drop_words=f"DELETE FROM customer_words WHERE customer {_KEYS}",
    put_part=_upsert(tables.CUSTOMER_PART, "customer, entity, seq"),
    parts=f"SELECT customer, entity, seq FROM customer_part WHERE customer {_KEYS} AND seq > ?",
    suppressed=f"SELECT key FROM suppressed WHERE key {_KEYS}",
    put_suppressed=_upsert(tables.SUPPRESSED, "key, at"),
    put_dead=_upsert(
        tables.DEAD,
        "id, connection, stage, reason, payload, at, state, times",
        updates="""connection = excluded.connection, stage = excluded.stage, reason = excluded.reason,
                   payload = excluded.payload, at = excluded.at, state = 'open', times = dead.times + 1""",
    ),
    put_ledger=_upsert(
        tables.LEDGER,
        "connection, hour, stream, way, received, missing, early, repaired",
        updates="""received = ledger.received + excluded.received, missing = ledger.missing + excluded.missing,
                   early = ledger.early + excluded.early, repaired = ledger.repaired + excluded.repaired""",
    ),
    put_repair=_upsert(tables.REPAIR, "connection, key, at, stream, way, found"),
    put_offset=_upsert(tables.BUS_OFFSET, "topic, partition, next"),
    set_dead="WITH k AS (SELECT ?::text[] AS ids) UPDATE dead SET state = ? FROM k WHERE id = ANY (k.ids) RETURNING id",
    matches="SELECT count(*) FROM (SELECT 1 FROM customer_words WHERE words @@ ?::tsquery LIMIT ?) w",
    # The words first: the other way round, a rare word would walk through all customers.
    search=f"""WITH w AS MATERIALIZED (SELECT customer FROM customer_words WHERE words @@ ?::tsquery)
        SELECT {_CUSTOMER} FROM w CROSS JOIN LATERAL (SELECT * FROM customer WHERE id = w.customer OFFSET 0) c
        WHERE c.seq < ? ORDER BY c.seq DESC LIMIT ?""",
    # ts_rank knows nothing of rare and common words: the more articles have a word, the less it weighs. Rounding makes
    # equals of what differs by a few words.
    articles="""WITH found AS MATERIALIZED (
            SELECT a.number, k.word::tsquery AS query, count(*) OVER (PARTITION BY k.word) AS having
            FROM unnest(?::text[]) k(word) JOIN article a ON a.words @@ k.word::tsquery
        ), ranked AS MATERIALIZED (
            SELECT a.object, a.verified, sum(ts_rank(a.words, f.query, 1) / (1 + ln(f.having))) AS rank
            FROM found f JOIN article a ON a.number = f.number GROUP BY a.number
        )
        SELECT o.key, o.entity, o.parent, o.registers, o.card, o.text FROM ranked r JOIN object o ON o.key = r.object
        ORDER BY round(r.rank::numeric, 3) DESC, r.verified DESC, o.key LIMIT ?""",
    drop_objects=f"DELETE FROM object WHERE key {_KEYS}",
    full_objects=f"SELECT key, entity, parent, registers, card, text FROM object WHERE key {_KEYS}",
)
