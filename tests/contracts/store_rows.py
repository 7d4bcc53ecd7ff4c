"""Rows for the store's tests, with what a test does not care about filled in."""

from typing import Any

from core.store import CustomerRow, DeadRow, ObjectRow, PartyRow, PersonRow, TokenRow


def person(key: str, **changes: Any) -> PersonRow:
    row = PersonRow(key, f"birth-{key}", f"birth-{key}", None, 1, False, False, None, "Dana Reyes", b"{}")
    return row._replace(**changes)


def customer(id: str, seq: int, search: str = "Dana Reyes", **changes: Any) -> CustomerRow:
    return CustomerRow(id, seq, "live", None, b"\0h", b'{"a":1}', search, b"[]", b"{}")._replace(**changes)


def thing(key: str, entity: str = "conversation", **changes: Any) -> ObjectRow:
    return ObjectRow(key, entity, None, b"\0\xff", b'{"key":"%s"}' % key.encode())._replace(**changes)


def party(object: str, person: str, at: str = "2026-01-01", **changes: Any) -> PartyRow:
    return PartyRow(object, person, "requester", "conversation", at, False)._replace(**changes)


def dead(id: str, **changes: Any) -> DeadRow:
    return DeadRow(id, "help", "normalize", "no such field", b"\0{}", 1_000, "open", 1)._replace(**changes)


def token(hash: bytes, **changes: Any) -> TokenRow:
    return TokenRow(hash, "token", "desk", "read feed", 1_000, 0)._replace(**changes)
