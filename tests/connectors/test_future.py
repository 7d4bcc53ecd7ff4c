"""A row that its source dates in the future must not make a poll's mark jump ahead of what changes until then."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from connectors._template import poll as template
from connectors.aircall import poll as aircall
from connectors.guru import poll as guru
from connectors.intercom import poll as intercom
from core import registry
from core.sdk import Page, from_ms, to_ms
from tests.connectors.declared_source import MS, Source

FUTURE = MS + 900 * 365 * 86_400_000  # ms
DAY = 86_400_000
ISO = from_ms(FUTURE)


CASES: dict[str, tuple[Callable[..., AsyncIterator[Page]], Any, Callable[[Any], int]]] = {
    "_template": (
        template.changed("ticket", "/tickets"),
        {"rows": [{"id": 1, "changed_at": ISO}], "next": None},
        lambda cursor: to_ms(cursor["since"]),
    ),
    "aircall": (
        aircall.contacts,
        {"contacts": [{"id": 1, "updated_at": FUTURE // 1000}], "meta": {"total": 1, "next_page_link": None}},
        lambda cursor: cursor["from"] * 1000,
    ),
    "guru": (guru.cards, [{"id": "c-1", "lastModified": ISO}], lambda cursor: cursor["since"]),
    "intercom": (
        intercom.articles,
        {"type": "list", "data": [{"id": "1", "updated_at": FUTURE // 1000}], "pages": {}},
        lambda cursor: cursor["since"] * 1000,
    ),
}


@pytest.mark.parametrize("name", CASES)
async def test_the_mark_is_no_later_than_the_poll(name: str) -> None:
    poll, answer, mark = CASES[name]
    settings = {"type": name, "account": "example", **registry.mock(name).DEMO}
    config = registry.load(name).config.model_validate(settings)
    pages = [page async for page in poll(Source(lambda *_: answer), config, "example", None)]
    assert [len(page.payloads) for page in pages] == [1]
    assert MS - DAY < mark(pages[-1].cursor) <= MS
