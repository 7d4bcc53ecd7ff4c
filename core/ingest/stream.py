"""One stream of one connection, polled for ever: the first fetch (backfill), then what changed since (sweeps)."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import orjson

from core.bus.topics import EVENTS, PAST
from core.config.model import Connection
from core.errors import PermanentError
from core.ingest import status
from core.ingest.cursors import Cursors, Saved, decode
from core.ingest.hydrate import caught_up
from core.ingest.pace import closing, live_first, patiently
from core.ingest.rounds import Rounds
from core.ingest.status import ms
from core.ingest.tools import Tools
from core.sdk import Payload, Stream


class StreamPoll:
    """`raw` is the stream's saved cursor as it stands on the bus. `at_once`: it does not wait until it is due, because
    webhooks may have been missed; nor where it was complete before `ordered` (epoch ms; see Cursors.sweep)."""

    def __init__(
        self,
        tools: Tools,
        cursors: Cursors,
        connection: Connection,
        stream: Stream[Any],
        raw: bytes | None,
        *,
        at_once: bool = False,
        ordered: int = 0,
    ) -> None:
        self._tools = tools
        self._cursors = cursors
        self._connection = connection
        self._stream = stream
        self._raw = raw
        self._at_once = at_once
        self._ordered = ordered
        self._saved: Saved | None = None
        self._every = (stream.every or connection.settings.poll_every).total_seconds()
        self._shown = tools.board[connection.name].streams.setdefault(stream.name, status.Stream())

    async def run(self) -> None:
        """Poll for ever: at once if it is the first time or was cut short, else when it is due."""
        rounds = Rounds(self._tools, self._connection.name, f"poll {self._stream.name}", self._shown)
        await rounds.run(self._load, self._once, self._every)

    async def _load(self) -> float:
        """Seconds until the next poll."""
        self._saved = decode(self._raw)
        self._show(self._saved)
        complete = self._saved.complete_up_to
        if self._at_once or self._saved.cursor is None or complete is None or self._saved.began is not None:
            return 0.0
        if complete < self._ordered:
            return 0.0
        due = complete / 1000 + self._every - self._tools.clock().timestamp()
        return 0.0 if self._saved.backfill else min(self._every, max(0.0, due))

    async def _once(self) -> None:
        assert self._saved is not None
        began = self._saved.began
        await self._round()
        # A round that was cut short is complete up to its first beginning only; that may be a whole downtime ago.
        late = self._tools.clock().timestamp() - self._every
        if began is not None and (began / 1000 <= late or began < self._ordered):
            await self._round()

    async def _round(self) -> None:
        tools, name = self._tools, self._connection.name
        assert self._saved is not None
        saved = replace(self._saved, began=self._saved.began or ms(tools.clock()))
        if not saved.backfill and (saved.cursor is None or saved.complete_up_to is None):
            # Where rounds ended without a page, what the stream brings may have been chosen just now.
            saved = replace(saved, backfill=True, complete_up_to=None)
        backfill = saved.backfill
        seen: set[bytes] = set()
        await live_first(tools.lag, tools.pace)
        if not backfill:
            await self._let_go_first()
        self._shown.begin(saved.fetched, ms(tools.clock()))
        http = tools.https[name].of("backfill" if backfill else "sweep")
        pages = self._stream.poll(http, self._settings(saved), tools.intake.account(name), saved.cursor)
        async with closing(pages):
            async for page in pages:
                check_cursor(page.cursor, seen)
                past = backfill or page.past
                await self._publish(page.payloads, past=past)
                # Saved last: after a crash this page is fetched again rather than never.
                fetched, total = saved.fetched + len(page.payloads), page.total or saved.total
                saved = await self._save(replace(saved, cursor=page.cursor, fetched=fetched, total=total), past=past)
                await live_first(tools.lag, tools.pace)
        tools.board.polled(name, self._stream.name, 0)
        await self._save(Saved(saved.cursor, complete_up_to=saved.began, asked=saved.asked))

    async def _let_go_first(self) -> None:
        """What is known already, and only waits for its turn, would count as missed."""
        if self._connection.connector.hydrate is not None:
            await caught_up(self._tools, self._connection.name)
        if self._at_once:  # as after a restart, when process may be behind with a first fetch
            self._at_once = False
            await self._tools.turns.drained(self._tools.pace.hints)

    def _past_is_fetched(self) -> bool:
        """Whether another stream of the connection still fetches the past: until then what is new was not missed."""
        others = (it for it in self._tools.board[self._connection.name].streams.values() if it is not self._shown)
        behind = (it for it in others if not it.listing and (it.way == "backfill" or it.complete_up_to is None))
        return any(it.error is None for it in behind)

    def _settings(self, saved: Saved) -> Any:
        """The connection's settings; a backfill may have been asked to go back further, or less far."""
        settings = self._connection.settings
        if saved.since is None:
            return settings
        return settings.model_copy(update={"since": timedelta(seconds=saved.since)})

    async def _publish(self, payloads: Sequence[Payload], *, past: bool) -> None:
        tools, name, stream = self._tools, self._connection.name, self._stream.name
        way = "backfill" if past or self._past_is_fetched() else "sweep"
        turn, topic = (tools.turns.past, PAST) if past else (tools.turns.lot, EVENTS)
        rest = payloads
        while rest:
            async with turn() as size:
                lot, rest = rest[:size], rest[size:]
                await patiently(lambda lot=lot: tools.intake.payloads(name, lot, way, stream, topic))  # type: ignore[misc]
        self._tools.board.polled(name, stream, len(payloads))

    async def _save(self, saved: Saved, *, past: bool = False) -> Saved:
        saved = replace(saved, at=ms(self._tools.clock()))
        await self._cursors.save(self._connection.name, self._stream.name, saved)
        self._saved = saved
        self._show(saved, past=past)
        return saved

    def _show(self, saved: Saved, *, past: bool = False) -> None:
        self._shown.at, self._shown.complete_up_to = saved.at, saved.complete_up_to
        under_way = "backfill" if past or saved.backfill or saved.complete_up_to is None else "sweep"
        self._shown.way = under_way if saved.began is not None else ""
        self._shown.fetched, self._shown.total = saved.fetched, saved.total


def check_cursor(cursor: Any, seen: set[bytes]) -> None:
    """A loop ends by itself: the same cursor twice in one poll would go in circles."""
    if not isinstance(cursor, dict):
        raise PermanentError("the stream gave a cursor that is not an object")
    try:
        named = orjson.dumps(cursor, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise PermanentError("the stream gave a cursor that is no JSON") from error
    if named in seen:
        raise PermanentError("the source goes in circles: a cursor came twice")
    seen.add(named)
