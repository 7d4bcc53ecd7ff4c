"""Closed by default: tokens, scopes, login links, Host and Origin; and every refusal says what to do."""

from pathlib import Path

import aiohttp
import pytest
from aiohttp import CookieJar
from yarl import URL

from core import api
from core.api.tokens import LINK_MS, SESSION_MS, hashed
from core.errors import ConfigError, TransientError
from core.store import DeadRow
from schemas.answers import Problem
from tests.fixtures_api import Desk, desk_at

NO_TOKEN = {"Authorization": ""}


async def test_without_a_token_everything_but_health_is_closed(desk: Desk) -> None:
    for path in ("/v1/lookup?phone=1", "/v1/customers", "/v1/customers/x", "/v1/sources", "/v1/feed", "/v1/dead"):
        async with desk.session.get(desk.url + path) as answer:
            assert answer.status == 401
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
            assert answer.content_type == "application/problem+json"
            assert "hub token add" in Problem.model_validate(await answer.json(content_type=None)).remedy
    for path in ("/healthz", "/readyz", "/metrics", "/v1/openapi.json", "/"):
        async with desk.session.get(desk.url + path) as answer:
            assert answer.status == 200


async def test_a_token_does_what_its_scopes_say_until_it_is_revoked(desk: Desk) -> None:
    allowed = {
        "read": {"/v1/customers": 200, "/v1/dead": 403, "/v1/feed?snapshot=0": 403},
        "feed": {"/v1/customers": 403, "/v1/dead": 403},
        "admin": {"/v1/customers": 200, "/v1/dead": 200},
    }
    for scope, paths in allowed.items():
        token = await api.new_token(desk.store, scope, [scope], desk.clock)
        for path, status in paths.items():
            answer = await desk.get(path, status, Authorization=f"Bearer {token}")
            assert status == 200 or scope not in answer["detail"]
        assert await api.revoke(desk.store, scope) == 1
        await desk.get("/v1/customers", 401, Authorization=f"Bearer {token}")


async def test_a_token_ends_when_it_expires(desk: Desk) -> None:
    token = await api.new_token(desk.store, "short", ["read"], desk.clock, expires=desk.clock + 1_000)
    await desk.get("/v1/customers", 200, Authorization=f"Bearer {token}")
    desk.clock += 1_000
    await desk.get("/v1/customers", 401, Authorization=f"Bearer {token}")


async def test_only_a_tokens_hash_is_kept(tmp_path: Path) -> None:
    async with desk_at(tmp_path) as desk:
        once, _ = await api.new_login(desk.store, desk.clock)
        secrets = (desk.token.encode(), once.encode())
        assert await desk.store.token(hashed(desk.token)) is not None
    for file in tmp_path.iterdir():
        assert not any(secret in file.read_bytes() for secret in secrets), file.name


async def test_a_tokens_name_and_scopes_are_checked(desk: Desk) -> None:
    with pytest.raises(ConfigError, match="already"):
        await api.new_token(desk.store, "test", ["read"], desk.clock)
    with pytest.raises(ConfigError, match="there are: read, feed, admin"):
        await api.new_token(desk.store, "other", ["write"], desk.clock)


async def test_a_login_link_opens_one_session_that_reads_and_ends(desk: Desk) -> None:
    link = (await desk.ask("POST", "/v1/login-links", 200))["url"]
    async with aiohttp.ClientSession(cookie_jar=CookieJar(unsafe=True)) as browser:
        async with browser.get(link, allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, "/")
            cookie = answer.headers["Set-Cookie"]
            assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
        async with browser.get(desk.url + "/v1/customers") as answer:
            assert answer.status == 200
        async with browser.get(desk.url + "/v1/dead") as answer:
            assert answer.status == 403
        async with browser.get(link) as answer:
            assert answer.status == 410
            assert "hub open" in await answer.text()
        desk.clock += SESSION_MS
        async with browser.get(desk.url + "/v1/customers") as answer:
            assert answer.status == 401


async def test_logging_out_ends_the_session_for_good(desk: Desk) -> None:
    link = (await desk.ask("POST", "/v1/login-links", 200))["url"]
    async with aiohttp.ClientSession(cookie_jar=CookieJar(unsafe=True)) as browser:
        async with browser.get(link):
            kept = browser.cookie_jar.filter_cookies(URL(desk.url)).output(header="", sep=";").strip()
        async with browser.post(desk.url + "/logout") as answer:
            assert answer.status == 200
    async with desk.session.get(desk.url + "/v1/customers", headers={"Cookie": kept}) as answer:
        assert answer.status == 401


async def test_an_old_link_and_an_access_token_open_no_session(desk: Desk) -> None:
    once, _ = await api.new_login(desk.store, desk.clock)
    desk.clock += LINK_MS
    for secret in (once, desk.token):
        async with desk.session.get(f"{desk.url}/login/{secret}", allow_redirects=False) as answer:
            assert answer.status == 410
    await desk.get("/v1/customers")  # the token still works


async def test_a_preview_of_a_link_does_not_use_it_up(desk: Desk) -> None:
    once, _ = await api.new_login(desk.store, desk.clock)
    async with desk.session.head(f"{desk.url}/login/{once}", allow_redirects=False) as answer:
        assert answer.status == 405
    async with desk.session.get(f"{desk.url}/login/{once}", allow_redirects=False) as answer:
        assert answer.status == 303


@pytest.mark.parametrize(
    "host", ["evil.example.com", "127.0.0.1.evil.example.com", "localhost.evil.example.com:80", ""]
)
async def test_a_foreign_name_in_host_is_refused(desk: Desk, host: str) -> None:
    for path in ("/", "/login/x", "/v1/customers", "/metrics"):
        async with desk.session.get(desk.url + path, headers={"Host": host}) as answer:
            assert answer.status in (421, 400)


async def test_our_own_names_are_welcome_in_host(tmp_path: Path) -> None:
    async with desk_at(tmp_path, hosts=frozenset({"hub.example.com"})) as desk:
        for host in ("localhost:8080", "127.0.0.1", "[::1]:8080", "hub.example.com"):
            async with desk.session.get(desk.url + "/", headers={"Host": host}) as answer:
                assert answer.status == 200
        # A program with a token is no browser that was lured here.
        await desk.get("/v1/customers", 200, Host="supporthub.internal")


async def test_another_sites_page_changes_nothing(desk: Desk) -> None:
    for origin in ("https://evil.example.com", "null"):
        problem = await desk.ask("POST", "/v1/login-links", 403, headers={"Origin": origin})
        assert problem["detail"] == "the request comes from another site"
    await desk.ask("POST", "/v1/login-links", 200, headers={"Origin": desk.url})


async def test_every_answer_is_hardened(desk: Desk) -> None:
    for path in ("/", "/static/main.js", "/v1/customers", "/v1/feed?snapshot=0", "/healthz", "/nothing"):
        headers = {"Authorization": f"Bearer {desk.token}"}
        async with desk.session.get(desk.url + path, headers=headers) as answer:
            assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
            assert "unsafe-inline" not in answer.headers["Content-Security-Policy"]
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Referrer-Policy"] == "no-referrer"


async def test_an_unknown_path_a_wrong_method_and_a_wrong_body_are_problems(desk: Desk) -> None:
    assert (await desk.get("/v1/nothing", 404))["remedy"]
    async with desk.session.delete(desk.url + "/v1/customers") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "GET,HEAD")
        assert (await answer.json(content_type=None))["remedy"]
    problem = await desk.ask("POST", "/v1/ring", 400, data=b"{")
    assert problem["errors"]
    assert (await desk.ask("POST", "/v1/ring", 400, json={"fone": "1"}))["errors"] == {
        "fone": "Extra inputs are not permitted"
    }
    assert (await desk.ask("POST", "/v1/ring", 413, data=b" " * 100_000))["status"] == 413


@pytest.mark.parametrize(
    "path", ["/v1/customers/%00", "/v1/customers?q=a%00", "/v1/customers?after=%00", "/v1/feed?customer=%00"]
)
async def test_nothing_is_named_with_a_nul(desk: Desk, path: str) -> None:
    assert (await desk.get(path, 400))["remedy"]
    told = {"name": "a\0b", "scopes": ["read"]}
    assert (await desk.ask("POST", "/v1/tokens", 400, json=told))["detail"] == "the request holds a NUL character"


async def test_parameters_are_explained(desk: Desk) -> None:
    problem = await desk.get("/v1/customers?limt=5&q=a&q=b", 400)
    assert problem["errors"] == {"limt": "unknown parameter; did you mean limit?", "q": "given twice"}
    assert "limit" in problem["remedy"]


async def test_a_fault_of_ours_is_a_problem_without_details(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def ring(_: str | None) -> dict[str, str]:
        raise RuntimeError("dana@example.com is to blame")

    async with desk_at(tmp_path, ring=ring) as desk:
        problem = await desk.ask("POST", "/v1/ring", 500)
        assert problem["instance"].startswith("urn:hub:error:")
        assert "dana" not in str(problem)
        await desk.get("/healthz")


async def test_a_store_that_is_down_is_503_with_retry_after(tmp_path: Path) -> None:
    async def ring(_: str | None) -> dict[str, str]:
        raise TransientError("locked")

    async with desk_at(tmp_path, ring=ring) as desk:
        headers = {"Authorization": f"Bearer {desk.token}"}
        async with desk.session.post(desk.url + "/v1/ring", headers=headers) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
            assert (await answer.json(content_type=None))["detail"] == "locked"


async def test_ring_asks_for_a_caller_and_is_unknown_on_a_real_hub(tmp_path: Path) -> None:
    async def ring(phone: str | None) -> dict[str, str]:
        if phone == "+12025550188":
            raise LookupError(phone)
        return {"phone": phone or "+12025550143", "connection": "aircall"}

    async with desk_at(tmp_path / "demo", ring=ring) as desk:
        assert await desk.ask("POST", "/v1/ring", 200) == {"phone": "+12025550143", "connection": "aircall"}
        assert (await desk.ask("POST", "/v1/ring", 200, json={"phone": "+12025550100"}))["phone"] == "+12025550100"
        assert (await desk.ask("POST", "/v1/ring", 404, json={"phone": "+12025550188"}))["remedy"]
    async with desk_at(tmp_path / "real") as desk:
        assert (await desk.ask("POST", "/v1/ring", 404))["remedy"]


async def test_dead_letters_are_listed_replayed_and_discarded(desk: Desk) -> None:
    async with desk.store.writing() as writing:
        letters = [
            DeadRow(f"d{n}", "crm", "normalize", "no id", b'{"a":1}', desk.clock + n, "open", 1) for n in range(3)
        ]
        await writing.put_dead(letters)
    page = await desk.get("/v1/dead?limit=2")
    rest = await desk.get(f"/v1/dead?limit=2&after={page['next']}")
    assert sorted(each["id"] for each in page["letters"] + rest["letters"]) == ["d0", "d1", "d2"]
    assert page["letters"][0]["payload"] == '{"a":1}'
    assert await desk.ask("POST", "/v1/dead/d1/replay", 200) == {"id": "d1", "state": "replayed"}
    assert desk.replayed == ["d1"]
    assert await desk.ask("POST", "/v1/dead/d2/discard", 200) == {"id": "d2", "state": "discarded"}
    assert "d2" not in [each["id"] for each in (await desk.get("/v1/dead"))["letters"]]
    assert (await desk.ask("POST", "/v1/dead/none/replay", 404))["remedy"]


async def test_readiness_says_what_is_missing(desk: Desk) -> None:
    assert await desk.get("/readyz") == {"ready": True, "checks": {"store": None}}
    desk.wrong["store"] = "does not answer"
    assert await desk.get("/readyz", 503) == {"ready": False, "checks": {"store": "does not answer"}}
    assert await desk.get("/healthz") == {"status": "ok"}
    assert await desk.get("/metrics") == "hub_up 1\n"
