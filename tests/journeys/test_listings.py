"""Deletions that no webhook told are found where a source lists all that it has, and never by mistake."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from core.bus import Bus
from core.ingest import begin_anew
from core.ingest.cursors import due
from core.ingest.hydrate import MISSING
from core.ingest.listing import FEW
from core.sdk import Ids, Listing
from tests.ingesting import QUICK, Hub, Knows, desk, messages, named, running, until
from tests.source import Source

CALM = replace(QUICK, calm=0.0)
NOW = 1_800_000_000_000


def listings(source: Source) -> list[str]:
    return [path for path in source.paths if path.startswith("/ids")]


async def test_what_the_source_lists_no_more_is_fetched_and_found_deleted(bus: Bus, source: Source) -> None:
    for number in range(30):
        source.person(number)
    source.listed = 10
    del source.people[7], source.people[20]
    async with running(bus, desk(source), lag=0, known=Knows(*range(30))) as hub:
        await until(lambda: hub.is_gone({"7", "21"}))
        ways = await hub.origins()
        assert ways["7"][-1] == ("listing", "all person", True)
        shown = await until(lambda: _listed(hub))
        assert shown["listing"] and shown["error"] is None
    assert listings(source) == ["/ids?after=0", "/ids?after=10", "/ids?after=20"]
    async with running(bus, desk(source), lag=0, known=Knows(*range(30))) as hub:
        await until(lambda: _listed(hub))
        await asyncio.sleep(0.5)
    assert len(listings(source)) == 3, "the next one is due in a day"


def _listed(hub: Hub) -> dict[str, Any] | None:
    shown: dict[str, Any] = hub.documents.get("desk", {}).get("streams", {}).get("all person", {})
    return shown if shown.get("complete_up_to") else None


async def test_what_moved_between_pages_or_was_created_meanwhile_is_not_deleted(bus: Bus, source: Source) -> None:
    for number in range(30):
        source.person(number)
    source.listed = 10

    def moved(request: web.Request) -> web.Response:
        """Between the first page and the second, the first object goes to the end and comes before what was read."""
        source.people.insert(0, source.people.pop())
        source.person(100)
        source.broken = None
        return source.regular(request, None)

    def watch(request: web.Request) -> web.Response:
        return moved(request) if request.path_qs == "/ids?after=20" else source.regular(request, source.bodies[-1])

    source.broken = watch
    async with running(bus, desk(source), lag=0, known=Knows(*range(30))) as hub:
        await until(lambda: _listed(hub))
        await until(lambda: _came(hub, "29", ("listing", "all person", True)))
        assert await hub.gone() == set()


async def _came(hub: Hub, number: str, origin: tuple[str, str, bool]) -> bool:
    return origin in (await hub.origins()).get(number, [])


@pytest.mark.parametrize("many", [1, 3, FEW + 1])
async def test_a_source_that_lists_nothing_does_not_empty_the_hub(bus: Bus, source: Source, many: int) -> None:
    known = Knows(*range(many))
    only = desk(source)
    async with running(bus, only, lag=0, known=known) as hub:
        document = await until(lambda: _broken(hub))
        assert f"lacks {many} of the {many}" in document["error"] and document["streams"]["all person"]["error"]
        assert document["remedy"].endswith("hub backfill desk 'all person' --accept")
        assert not await messages(bus, "hints") and not _listed(hub)
        assert await begin_anew(bus, only, NOW, stream="all person", since=None, accept=True) == ["all person"]
        await until(lambda: _listed(hub))
        await until(lambda: hub.is_gone({str(number) for number in range(many)}))
        await until(lambda: hub.documents["desk"]["error"] is None)


def _broken(hub: Hub) -> dict[str, Any] | None:
    document = hub.documents.get("desk", {})
    return document if document.get("error") else None


async def test_a_kind_that_the_settings_leave_out_is_not_listed_and_nothing_of_it_is_missed(
    bus: Bus, source: Source
) -> None:
    async def left_out(http: Any, config: Any, account: str, cursor: Any) -> AsyncIterator[Ids]:
        for page in ():
            yield page

    only = desk(source)
    connector = replace(only.connector, listings=(Listing("person", left_out),))
    async with running(bus, replace(only, connector=connector), known=Knows(*range(5))) as hub:
        shown = await until(lambda: _listed(hub))
        assert shown["error"] is None and hub.documents["desk"]["state"] is None
        await asyncio.sleep(0.3)
        assert "/batch" not in source.paths and await hub.gone() == set()


async def test_a_fifth_of_many_may_be_missing_and_no_more(bus: Bus, source: Source) -> None:
    for number in range(400):
        source.person(number)
    del source.people[:81]
    async with running(bus, desk(source), lag=0, known=Knows(*range(400))) as hub:
        await until(lambda: _broken(hub))
        source.people.insert(0, source.people.pop())
        source.person(80)
        await until(lambda: hub.is_gone({str(number) for number in range(80)}))


async def test_a_listing_goes_on_where_the_source_failed_and_waits_while_nobody_knows(bus: Bus, source: Source) -> None:
    for number in range(30):
        source.person(number)
    source.listed, known = 10, Knows(*range(30))
    known.down = True
    failures = [1, 1]

    def failing(request: web.Request) -> web.Response:
        if request.path_qs == "/ids?after=20" and failures:
            failures.pop()
            return web.json_response({}, status=503)
        return source.regular(request, source.bodies[-1])

    source.broken = failing
    async with running(bus, desk(source), lag=0, known=known) as hub:
        await until(lambda: _broken(hub))
        assert not listings(source)
        known.down = False
        await until(lambda: _listed(hub))
    assert listings(source).count("/ids?after=0") == 1 and listings(source)[-1] == "/ids?after=20"
    assert MISSING not in str(await messages(bus, "hints"))


@asynccontextmanager
async def listing_cut_short(bus: Bus, source: Source, folder: Path) -> AsyncIterator[None]:
    """A hub that was cut off before the last of three pages of ids."""
    for number in range(30):
        source.person(number)
    source.listed = 10

    def failing(request: web.Request) -> web.Response:
        down = request.path_qs == "/ids?after=20"
        return web.json_response({}, status=503) if down else source.regular(request, source.bodies[-1])

    source.broken = failing
    async with running(bus, desk(source), known=Knows(*range(30)), folder=folder) as hub:
        await until(lambda: _broken(hub))
    source.broken = None
    yield


async def test_a_listing_that_was_cut_short_goes_on_after_a_restart(bus: Bus, source: Source, tmp_path: Path) -> None:
    async with listing_cut_short(bus, source, tmp_path):
        source.people = [one for one in source.people if one["id"] != 27]
        # What the hub knows by now, and no page names any more, was created after the listing had begun.
        async with running(bus, desk(source), known=Knows(*range(30), 100), folder=tmp_path) as hub:
            await until(lambda: _listed(hub))
            await until(lambda: hub.is_gone({"27"}))
        assert listings(source).count("/ids?after=0") == 1 == listings(source).count("/ids?after=10")
        assert not [*(tmp_path / "listings").iterdir()]
        async with running(bus, desk(source), known=Knows(*range(30)), folder=tmp_path) as hub:
            await until(lambda: _listed(hub))
        assert listings(source)[-1] == "/ids?after=20", "the next one is due in a day"


@pytest.mark.parametrize("why", ["ordered", "harmed", "ended elsewhere"])
async def test_a_listing_that_was_cut_short_begins_anew(bus: Bus, source: Source, tmp_path: Path, why: str) -> None:
    async with listing_cut_short(bus, source, tmp_path):
        [file] = (tmp_path / "listings").glob("*.db")
        assert file.name == "desk.person.db" and file.stat().st_mode & 0o777 == 0o600
        if why == "ordered":
            await begin_anew(bus, desk(source), NOW, stream="all person", since=None, accept=False)
        if why == "harmed":
            await until(lambda: [*file.parent.iterdir()] == [file])
            file.write_bytes(b"nothing that one could read" * 1_000)
        if why == "ended elsewhere":
            async with running(bus, desk(source), known=Knows(*range(30))) as hub:
                await until(lambda: _listed(hub))
        before = listings(source).count("/ids?after=0")
        async with running(bus, desk(source), known=Knows(*range(30)), folder=tmp_path) as hub:
            await until(lambda: _listed(hub))
            await until(lambda: not file.exists())
        assert listings(source).count("/ids?after=0") == before + (why != "ended elsewhere")


async def test_what_was_struck_before_an_order_is_looked_at_once_more(bus: Bus, source: Source, tmp_path: Path) -> None:
    async with listing_cut_short(bus, source, tmp_path):
        source.people = [one for one in source.people if one["id"] != 3]  # of the first page, which was read
        await bus.publish([due("desk", "all person", int(time.time() * 1000))])
        async with running(bus, desk(source), known=Knows(*range(30)), folder=tmp_path) as hub:
            await until(lambda: hub.is_gone({"3"}))
            await until(lambda: _listed(hub))
        paths = listings(source)
        assert paths.count("/ids?after=0") == 2 and paths[-4:-3] == ["/ids?after=20"], "one to its end, then one more"


@pytest.mark.parametrize("whole", [True, False])
async def test_what_is_listed_and_nobody_knows_is_fetched_where_all_should_have_come(
    bus: Bus, source: Source, whole: bool
) -> None:
    only = desk(source)
    [listing] = only.connector.listings
    only = replace(only, connector=replace(only.connector, listings=(replace(listing, whole=whole),)))
    for number in range(30):
        source.person(number)
    source.listed = 10
    async with running(bus, only, known=Knows(*range(12), *range(15, 30))) as hub:
        await until(lambda: _listed(hub))
        if whole:
            for number in ("12", "13", "14"):
                await until(lambda number=number: _came(hub, number, ("listing", "all person", True)))
        await asyncio.sleep(0.3)
        ways = await hub.origins()
        found = {number for number, its in ways.items() if ("listing", "all person", True) in its}
        assert found == ({"12", "13", "14"} if whole else set()) and await hub.gone() == set()


async def test_nothing_is_unknown_as_long_as_the_past_is_fetched(bus: Bus, source: Source) -> None:
    only = desk(source)
    [listing] = only.connector.listings
    only = replace(only, connector=replace(only.connector, listings=(replace(listing, whole=True),)))
    for number in range(30):
        source.person(number)

    def slow(request: web.Request) -> web.Response:
        polls = request.path.startswith("/people")
        return web.json_response({}, status=503) if polls else source.regular(request, source.bodies[-1])

    source.broken = slow
    async with running(bus, only, known=Knows(*range(12)), pace=replace(QUICK, hints=0.2)) as hub:
        await until(lambda: _listed(hub))
        assert MISSING not in str(await messages(bus, "hints"))


async def test_of_a_connection_that_is_there_no_more_no_listing_stays(bus: Bus, source: Source, tmp_path: Path) -> None:
    async with listing_cut_short(bus, source, tmp_path):
        async with running(bus, desk(source, "other"), folder=tmp_path) as hub:
            await until(lambda: hub.documents.get("other", {}).get("polls_here"))
            assert not [*(tmp_path / "listings").iterdir()]


async def test_of_what_no_webhook_tells_none_is_expected(bus: Bus, source: Source) -> None:
    only = desk(source)
    [stream], [listing] = only.connector.streams, only.connector.listings
    streams, listings = (replace(stream, pull_only=True),), (replace(listing, pull_only=True),)
    silent = replace(only, connector=replace(only.connector, streams=streams, listings=listings))
    for number in range(5):
        source.person(number)
    async with running(bus, silent) as hub:
        await until(lambda: hub.complete())
    source.person(6)
    async with running(bus, silent, known=Knows(*range(5), 99)) as hub:
        await until(lambda: hub.is_gone({"99"}))
        await until(lambda: hub.has(7))
        ways = await hub.origins()
        assert ways["6"] == [("sweep", "people", False)] and {*ways["99"]} == {("listing", "all person", False)}
        assert await hub.post(named(6)) == 202
        await until(lambda: _came(hub, "6", ("hydrate", "", True)))
