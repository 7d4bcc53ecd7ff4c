"""`python -m tests.bench.crowd COUNT`: Intercom's contract mock over a workspace of COUNT contacts; prints its address.

Nobody holds them: each page is made from the place that its token names, so that a million cost the mock no memory.
SIGUSR1 makes it silent until SIGUSR2: who asks meanwhile waits.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping

import orjson
from aiohttp import web

from connectors.intercom import search, views
from connectors.intercom.answers import error_list
from connectors.intercom.mock import Intercom
from connectors.intercom.world import Object
from core.sdk.mock import Mock, answer, page_size, serve

_NEWEST = 1_790_000_000_000  # epoch ms: when the first of them changed last, each of the others a second before


class Crowd(Intercom):
    """Searched without a lower bound and newest first, as a first fetch does: the rest is refused."""

    def __init__(self, seed: int, secrets: Mapping[str, str], count: int) -> None:
        super().__init__(seed, secrets)
        self.count = count
        self.talks = asyncio.Event()
        self.talks.set()

    def counts(self) -> Mapping[str, int]:
        return {**super().counts(), "people": self.count}

    async def _search_contacts(self, request: web.Request) -> web.Response:
        await self.talks.wait()
        body = orjson.loads(await request.read())
        try:
            search.found((), body.get("query"), by_day=True)
            if body["query"].get("value") != 0 or body["sort"] != {"field": "updated_at", "order": "descending"}:
                raise search.RefusedQuery("parameter_invalid", "the crowd is fetched whole, newest first")
            paging = body["pagination"]
            per_page, after = page_size(request, min(int(paging["per_page"]), 150)), paging.get("starting_after")
            begin = int(search.place_of(after)[0][1], 16) + 1 if after else 0
            rows = [self._row(number) for number in range(begin, min(begin + per_page + 1, self.count))]
            shown, pages = search.page(rows, body["sort"], per_page, after)
        except search.RefusedQuery as error:
            return answer(error_list(400, error.code, str(error)), 400)
        pages["total_pages"] = -(-self.count // per_page)
        return answer({"type": "list", "data": shown, "total_count": self.count, "pages": pages})

    def _row(self, number: int) -> Object:
        changed = _NEWEST - number * 1000
        person = {
            "id": f"{number:024x}", "role": "user", "given": "Visitor", "family": f"{number:07d}",
            "email": f"visitor{number}@example.com", "phone": None, "language": "en",
            "country": "US", "created": changed - 86_400_000, "updated": changed, "unsubscribed": False,
            "companies": [], "tags": [], "notes": [], "choices": {},
        }  # fmt: skip
        return views.contact(self.world, person, pushed=False, history=True)


def main() -> None:
    os.nice(19)  # in life a source has a machine of its own
    crowd = Crowd(7, {}, int(sys.argv[1]))

    def ready(mock: Mock) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, crowd.talks.clear)
        loop.add_signal_handler(signal.SIGUSR2, crowd.talks.set)
        print(mock.url, flush=True)

    asyncio.run(serve(crowd, port=0, target="", pace=0, ready=ready))


if __name__ == "__main__":
    main()
