"""Requests that are odd or broken: an error in the form of all others, never ours, and nothing of them in the log."""

import asyncio
import base64
import io
import random
import re
from urllib.parse import quote, urlsplit

import pytest
from yarl import URL

from core import log
from core.api.app import routes
from tests.fixtures_api import DANA, Desk

HOST = b"Host: 127.0.0.1\r\n"
ODD = [
    "", " ", "0", "-1", "9" * 900, "1e999", "null", "[]", "{}", "\0", "a\0b", "\ud800".encode("utf-8", "surrogatepass"),
    b"\xff\xfe", "💥" * 50, "../../etc/passwd", "%", "%zz", "'; DROP TABLE customer; --", "a" * 900, "+12025550143",
    "NQ", "bnVsbA", base64.urlsafe_b64encode(b'["a\\u0000","b"]').decode(), "1-" + "9" * 900, "1-1", "٣-٣", "true",
    "P1D", "hubspot/acme/contact/1", "a/b/c/d/e", "/", "?", "#", "\r\nX: y",
]  # fmt: skip
HEADERS = ("Origin", "Last-Event-ID", "If-None-Match", "Authorization", "Cookie", "Content-Type", "Accept", "Range")


def odd(chance: random.Random) -> str:
    return quote(chance.choice(ODD), safe="")


async def raw(desk: Desk, text: bytes) -> bytes:
    at = urlsplit(desk.url)
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    try:
        writer.write(text)
        async with asyncio.timeout(10):
            return await reader.readuntil(b"\r\n\r\n") + await reader.read(2_000)
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("line", "headers", "body", "status"),
    [
        (b"GET /v1/customers", b"Expect: foo\r\n", b"", 417),
        (b"POST /v1/tokens", b"Content-Encoding: gzip\r\nContent-Length: 5\r\n", b"hello", 400),
        (b"POST /v1/tokens", b"Origin: http://[\r\nContent-Length: 2\r\n", b"{}", 403),
    ],
)
async def test_a_broken_request_is_told_as_every_other_error(
    desk: Desk, line: bytes, headers: bytes, body: bytes, status: int
) -> None:
    token = b"Authorization: Bearer " + desk.token.encode() + b"\r\n"
    said = await raw(desk, line + b" HTTP/1.1\r\n" + HOST + token + b"Connection: close\r\n" + headers + b"\r\n" + body)
    head = said.partition(b"\r\n\r\n")[0].decode()
    assert head.split()[1] == str(status) and "application/problem+json" in head


async def test_what_is_no_http_never_reaches_the_log(desk: Desk) -> None:
    out = io.StringIO()
    log.setup(pretty=False, stream=out)
    for text in (b"GET /v1/customers?q=dana%20reyes+" + b"a" * 9_000 + b" HTTP/1.1\r\n" + HOST, b"HELLO dana\r\n"):
        assert b" 400 " in await raw(desk, text + b"\r\n")
    assert out.getvalue() == ""


@pytest.mark.parametrize("path", ["/v1/customers/{}/timeline?cursor=NQ", "/v1/feed?last_event_id=1-" + "9" * 5_000])
async def test_a_position_that_was_never_ours_is_refused(desk: Desk, path: str) -> None:
    await desk.tell(desk.person("hubspot/contact/1", "Ann Example", DANA))
    await desk.get(path.format(await desk.id_of(phone=DANA)), 400)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
async def test_odd_paths_queries_headers_and_bodies_are_never_a_fault_of_ours(desk: Desk, seed: int) -> None:
    await desk.tell(desk.person("hubspot/contact/1", "Ann Example", DANA))
    chance, out = random.Random(seed), io.StringIO()
    log.setup(pretty=False, stream=out)
    wrong = []
    for _ in range(10):
        for route in routes():
            path = re.sub(r"{\w+}", lambda _: odd(chance), route.path)
            names = [parameter.alias or name for name, parameter in route.query.model_fields.items()]
            query = "&".join(f"{chance.choice([*names, 'odd'])}={odd(chance)}" for _ in range(chance.randrange(3)))
            headers = {"Authorization": f"Bearer {desk.token}"} if chance.random() < 0.8 else {}
            if chance.random() < 0.3:
                given = chance.choice(ODD)
                text = given.decode("latin-1") if isinstance(given, bytes) else given
                headers[chance.choice(HEADERS)] = "".join(each for each in text if each.isprintable())
            body = chance.choice(
                [b"", b"{}", b"[]", b'{"a":' * 2_000, b"\xff", b'{"name":"\\u0000"}', b"null", b"1e999"]
            )
            url = URL(f"{desk.url}{path}?{query}", encoded=True)
            async with desk.session.request(
                route.method, url, data=body if route.method != "GET" else None, headers=headers,
                allow_redirects=False, skip_auto_headers=["Content-Type"],
            ) as answer:  # fmt: skip
                kind = answer.content_type
                if answer.status >= 500 and answer.status != 501:
                    wrong.append((route.method, str(url)[:200], answer.status, headers))
                if answer.status >= 400 and kind != "application/problem+json":
                    wrong.append((route.method, str(url)[:200], answer.status, kind, headers))
    assert not wrong, wrong[:10]
    assert "Ann" not in out.getvalue() and "Traceback" not in out.getvalue()
