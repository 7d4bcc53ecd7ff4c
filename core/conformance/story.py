"""An undisturbed run of the whole way, from which the checks learn what there is: payloads, pushes, the objects at the
end. Runs once per examination."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from core.conformance.bench import Objects, bench
from core.conformance.subject import NotRunError, Subject
from core.sdk import Connector, Payload
from core.sdk.player import Queued
from core.sdk.simulator import Push

BEATS = 120  # of the story: more than one cycle, so that people are introduced, call, merge and part
PAUSE = timedelta(hours=25)  # after which everything that is done daily is due
_MOST = 6  # payloads of each kind that are looked at closely


@dataclass(frozen=True, slots=True)
class Story:
    """`payloads`: at most a few of each kind, as the connector got them. `pushes`: what the source told, in order.
    `backfill`, `end`: the objects after the first fetch and after story and sweep. `letters`: dead ones."""

    payloads: Sequence[Payload]
    pushes: Sequence[Push]
    backfill: Objects
    end: Objects
    letters: int


async def story(subject: Subject) -> Story:
    found = subject.seen.get("story")
    if found is None:
        found = subject.seen["story"] = await _story(subject)
    assert isinstance(found, Story)
    return found


async def _story(subject: Subject) -> Story:
    seen: list[Payload] = []
    watched = replace(subject, connector=_watched(subject.connector, seen))
    async with bench(watched) as each:
        async with each.ingesting():
            await each.polled()
        backfill = each.objects()
        each.later(PAUSE)
        pushes = played(each.mock)
        async with each.ingesting():
            each.mock.send(pushes)
            await each.settled()
            await each.polled()
            await each.settled()
        letters = each.letters()
        return Story(_few(seen), [push for _, push in pushes], backfill, each.objects(), letters)


def played(mock: Any) -> Sequence[Queued]:
    """The story goes on; what the source tells of it, without forged deliveries."""
    return [queued for queued in mock.player.step(BEATS) if not queued[1].forged]


async def payloads(subject: Subject) -> Sequence[Payload]:
    """The samples', and those of the mock."""
    samples = [sample.payload for sample in subject.samples]
    found = [*samples, *((await story(subject)).payloads if subject.mock else ())]
    if not found:
        raise NotRunError("the connector has neither samples nor a mock")
    return found


def _watched(connector: Connector[Any], seen: list[Payload]) -> Connector[Any]:
    def normalize(payload: Payload) -> Any:
        seen.append(payload)
        return connector.normalize(payload)

    return replace(connector, normalize=normalize)


def _few(seen: Sequence[Payload]) -> list[Payload]:
    counts: dict[tuple[str, bool], int] = {}
    found = []
    for payload in seen:
        kind = payload.kind, payload.pushed
        counts[kind] = counts.get(kind, 0) + 1
        if counts[kind] <= _MOST:
            found.append(payload)
    return found
