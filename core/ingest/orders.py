"""What a person, or a loss on the bus, asks of a source: that a stream begins anew. The order stands on the cursors'
topic, where whoever polls the connection finds it, now or when it starts."""

from dataclasses import replace
from datetime import timedelta

from core.bus import Bus
from core.config.model import Connection
from core.errors import PermanentError
from core.ingest.cursors import Cursors, Saved, decode, listing_name

SOON = 600_000  # ms: a loss shows in many partitions and processes at once


async def begin_anew(
    bus: Bus, connection: Connection, now: int, *, stream: str | None, since: timedelta | None, accept: bool
) -> list[str]:
    """Forget the cursor of `stream` (None: of all, listings aside), so that it is read again from `since` ago, or as
    far back as hub.yaml says; `accept`: a listing is believed, however much it lacks. Durable on return; answers which.

    Raises PermanentError where there is no such stream. `now` is epoch ms.
    """
    connector = connection.connector
    listings = [listing_name(listing.kind) for listing in connector.listings]
    streams = [each.name for each in connector.streams]
    if stream is not None and stream not in (*streams, *listings):
        names = ", ".join([*streams, *listings]) or "none"
        raise PermanentError(f"{connection.name} has no stream {stream!r}; there are: {names}")
    if accept and stream not in listings:
        raise PermanentError(f"only a listing can be accepted; {connection.name} has: {', '.join(listings) or 'none'}")
    cursors, chosen = Cursors(bus), streams if stream is None else [stream]
    saved = await cursors.streams(connection.name)
    for each in chosen:
        old = _decoded(saved.get(each))
        new = Saved(at=now, complete_up_to=old.complete_up_to, backfill=True, asked=max(now, old.asked + 1))
        if each in listings:
            new = replace(new, complete_up_to=None, backfill=False, accept=accept)
        elif since is not None:
            new = replace(new, since=since.total_seconds())
        await cursors.save(connection.name, each, new)
    return chosen


async def read_again(bus: Bus, connection: Connection, now: int, since: timedelta | None) -> bool:
    """Let all streams begin anew from `since` ago (None: as far back as hub.yaml says), because the bus has lost what
    they brought; one that still fetches its past does so from its beginning. Durable on return; answers whether there
    is a stream. `now` is epoch ms. An order that is younger than SOON stands for this one, too."""
    cursors = Cursors(bus)
    saved = await cursors.streams(connection.name)
    for each in (stream.name for stream in connection.connector.streams):
        old = _decoded(saved.get(each))
        if old.backfill and 0 <= now - old.asked < SOON:
            continue
        past = old.backfill or old.cursor is None
        asked = None if since is None else since.total_seconds()
        back = old.since if past else asked
        new = Saved(at=now, complete_up_to=old.complete_up_to, backfill=True, since=back, asked=max(now, old.asked + 1))
        await cursors.save(connection.name, each, new)
    return bool(connection.connector.streams)


def _decoded(value: bytes | None) -> Saved:
    try:
        return decode(value)
    except PermanentError:
        return Saved()  # beginning anew is the way out
