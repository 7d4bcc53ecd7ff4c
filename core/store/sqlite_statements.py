"""The hot statements in SQLite's dialect. Keys travel as a JSON array; rows through executemany: JSON has no bytes."""
# ruff: noqa: S608 - put together from this file's own constants; values are parameters

from sqlalchemy import Table

from core.store import tables
from core.store.database import SHOWN, Put, Statements
from core.store.tables import kinds

_KEYS = "IN (SELECT value FROM json_each(?))"
_PERSON = "key, birth_id, customer, implied, first, staff, departed, alias_of, names, state"
_PARTY = "object, person, role, entity, at, open"
_CUSTOMER = 'c.id, c.seq, c.status, c."into", c.hash, c.record, c.search, c.cause, c.identity'
_ACTIVITY = "p.person, p.object, p.role, p.entity, p.at, p.open, o.card"


def _upsert(table: Table, columns: str, *, updates: str | None = None) -> Put:
    """`updates` replaces the plain taking over of all columns."""
    names = [name.strip() for name in columns.split(",")]
    key = len(table.primary_key.columns)
    taken = updates or ", ".join(f'"{name}" = excluded."{name}"' for name in names[key:])
    quoted = ", ".join(f'"{name}"' for name in names)
    sql = (
        f"INSERT INTO {table.name} ({quoted}) VALUES ({', '.join('?' * len(names))}) "
        f"ON CONFLICT ({', '.join(names[:key])}) DO UPDATE SET {taken}"
    )
    return Put(table.name, sql, kinds(table, names), key)


STATEMENTS = Statements(
    lock_hub="SELECT generation, seq, fold_revision, kind, secret, rules FROM hub",  # BEGIN IMMEDIATE has the lock
    objects=f"SELECT key, registers, live, parent FROM object WHERE key {_KEYS}",
    put_object=_upsert(tables.OBJECT, "key, source, entity, parent, live, registers, card, text"),
    put_article=Put(
        "article",
        """INSERT INTO article (object, verified, words) VALUES (?, ?, ?)
           ON CONFLICT (object) DO UPDATE SET verified = excluded.verified, words = excluded.words
           WHERE verified IS NOT excluded.verified OR words IS NOT excluded.words""",
        ("text", "bool", "text"),
        searched=True,
    ),
    drop_articles=f"DELETE FROM article WHERE object {_KEYS}",
    parties=f"SELECT {_PARTY} FROM party WHERE object {_KEYS}",
    drop_party=Put("party", "DELETE FROM party WHERE object = ? AND person = ?", ("text", "text"), 2),
    put_party=Put(
        "party",
        f"""INSERT INTO party (object, person, role, entity, at, open, live)
           VALUES (?1, ?2, ?3, ?4, ?5, ?6, coalesce((SELECT {SHOWN} FROM object o WHERE o.key = ?1), false))
           ON CONFLICT (object, person) DO UPDATE SET role = excluded.role, entity = excluded.entity,
               at = excluded.at, open = excluded.open""",
        kinds(tables.PARTY, _PARTY.split(", ")),
        2,
    ),
    set_live=f"""UPDATE party SET live = NOT live
        WHERE object IN (SELECT value FROM json_each(?1)
                UNION SELECT key FROM object WHERE parent {_KEYS.replace("?", "?1")})
            AND live <> (SELECT {SHOWN} FROM object o WHERE o.key = party.object)""",
    children=f"SELECT key, parent FROM object WHERE parent {_KEYS}",
    persons=f"SELECT {_PERSON} FROM person WHERE key {_KEYS}",
    persons_of=f"SELECT {_PERSON} FROM person WHERE customer {_KEYS}",
    aliases_to=f"SELECT {_PERSON} FROM person WHERE alias_of {_KEYS}",
    put_person=_upsert(tables.PERSON, _PERSON),
    named="""SELECT value FROM json_each(?)
        WHERE EXISTS (SELECT 1 FROM party WHERE person = value AND live = true)""",
    entities=f"SELECT DISTINCT person, entity FROM party WHERE person {_KEYS} AND live",
    drop_persons=f"DELETE FROM person WHERE key {_KEYS}",
    set_customer=Put("person", "UPDATE person SET customer = ?2 WHERE key = ?1", ("text", "text")),
    evidence=f"SELECT person, identifier, class, former FROM evidence WHERE person {_KEYS}",
    drop_evidence=Put("evidence", "DELETE FROM evidence WHERE person = ? AND identifier = ?", ("text", "text"), 2),
    put_evidence=_upsert(tables.EVIDENCE, "person, identifier, class, former"),
    holders="""SELECT ?1, person FROM (
            SELECT * FROM (SELECT person FROM evidence WHERE identifier = ?1 ORDER BY person LIMIT ?2)
            UNION ALL SELECT * FROM (SELECT key FROM person WHERE implied = ?1 ORDER BY key LIMIT ?2))""",
    # CROSS JOIN fixes the order of the loops; both inner queries walk an index from its end and stop.
    activities=f"""SELECT {_ACTIVITY} FROM party p CROSS JOIN object o ON o.key = p.object
        WHERE p.person = ?1 AND p.live = true ORDER BY p.at DESC, p.object DESC LIMIT ?2""",
    open_activities=f"""SELECT {_ACTIVITY} FROM party p CROSS JOIN object o ON o.key = p.object
        WHERE p.person = ?1 AND p.live = true AND p.open ORDER BY p.at, p.object LIMIT ?2""",
    timeline=f"""SELECT {_ACTIVITY} FROM party p CROSS JOIN object o ON o.key = p.object
        WHERE p.person = ?1 AND p.live = true AND (p.at, p.object) < (?2, ?3)
        ORDER BY p.at DESC, p.object DESC LIMIT ?4""",
    customers=f"SELECT {_CUSTOMER} FROM customer c WHERE c.id {_KEYS}",
    put_customer=_upsert(tables.CUSTOMER, "id, seq, status, into, hash, record, search, cause, identity"),
    on_the_phone=f"""SELECT {_CUSTOMER} FROM (
            SELECT DISTINCT e.customer FROM party p CROSS JOIN person e ON e.key = p.person
            WHERE p.open AND p.entity = 'call') w CROSS JOIN customer c ON c.id = w.customer
        WHERE c.seq > ?1 AND c.seq <= ?2 ORDER BY c.seq LIMIT ?3""",
    forget_identity=f"UPDATE customer SET identity = x'' WHERE id {_KEYS}",
    heads=f"SELECT id, seq, status, hash, identity, search FROM customer WHERE id {_KEYS}",
    put_words=Put(
        "customer_words",
        """INSERT INTO customer_words (customer, words) VALUES (?, ?)
           ON CONFLICT (customer) DO UPDATE SET words = excluded.words WHERE words IS NOT excluded.words""",
        ("text", "text"),
        searched=True,
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
                   payload = excluded.payload, at = excluded.at, state = 'open', times = times + 1""",
    ),
    put_ledger=_upsert(
        tables.LEDGER,
        "connection, hour, stream, way, received, missing, early, repaired",
        updates="""received = ledger.received + excluded.received, missing = ledger.missing + excluded.missing,
                   early = ledger.early + excluded.early, repaired = ledger.repaired + excluded.repaired""",
    ),
    put_repair=_upsert(tables.REPAIR, "connection, key, at, stream, way, found"),
    put_offset=_upsert(tables.BUS_OFFSET, "topic, partition, next"),
    set_dead=f"UPDATE dead SET state = ?2 WHERE id {_KEYS.replace('?', '?1')} RETURNING id",
    matches="SELECT count(*) FROM (SELECT 1 FROM customer_index WHERE customer_index MATCH ? LIMIT ?)",
    search=f"""SELECT {_CUSTOMER} FROM (
            SELECT w.customer FROM customer_index CROSS JOIN customer_words w ON w.number = customer_index.rowid
            WHERE customer_index MATCH ?1
        ) w CROSS JOIN customer c ON c.id = w.customer WHERE c.seq < ?2 ORDER BY c.seq DESC LIMIT ?3""",
    # bm25 is better the lower it is; rounding makes equals of what differs by a few words. The words hold no quotes.
    articles="""SELECT o.key, o.entity, o.parent, o.registers, o.card, o.text
        FROM article_index CROSS JOIN article a ON a.number = article_index.rowid
            CROSS JOIN object o ON o.key = a.object
        WHERE article_index MATCH (SELECT group_concat('"' || value || '"', ' OR ') FROM json_each(?1))
        ORDER BY round(bm25(article_index), 2), a.verified DESC, o.key LIMIT ?2""",
    drop_objects=f"DELETE FROM object WHERE key {_KEYS}",
    full_objects=f"SELECT key, entity, parent, registers, card, text FROM object WHERE key {_KEYS}",
)
