"""An undisturbed run of the whole way, from which the checks learn what there is: payloads, pushes, the objects at the
end. Runs once per examination."""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from core.conformance.bench import Bench, Objects, bench
from core.conformance.subject import BrokenError, NotRunError, Subject
from core.sdk import Connector, Hint, Payload
from core.sdk.faults import Fault
from core.sdk.player import Queued
from core.sdk.simulator import Push

BEATS = 120  # of the story: more than one cycle, so that people are introduced, call, merge and part
PAUSE = timedelta(hours=25)  # after which everything that is done daily is due
SOON = timedelta(minutes=2)  # after a fetch: what happens then must not fall between two polls
_BEAT = timedelta(seconds=1)
_MOST = 4  # payloads of each kind that are looked at closely


@dataclass(frozen=True, slots=True)
class Story:
    """`payloads`: at most a few of each kind, as the connector got them.
    `backfill`: the objects after the first fetch; `told`: of a hub that gets these pushes alone, of which `hinted` are
    only named there (kind and id); `end`: after all of it and the next fetch. `letters`: dead ones."""

    payloads: Sequence[Payload]
    backfill: Objects
    told: Objects
    hinted: Collection[tuple[str, str]]
    end: Objects
    letters: int


@dataclass(frozen=True, slots=True)
class Told:
    """`hinted`: what was asked for, kind and id; `letters`: how many became dead letters; `struck`: how many answers
    went wrong."""

    objects: Objects
    hinted: Collection[tuple[str, str]]
    letters: int
    struck: int


async def story(subject: Subject) -> Story:
    """Raises BrokenError where it does not come to its end, each time the same."""
    if "story" not in subject.seen:
        try:
            subject.seen["story"] = await _story(subject)
        except BrokenError as error:
            subject.seen["story"] = error
    found = subject.seen["story"]
    if isinstance(found, BrokenError):
        raise BrokenError(str(found))
    assert isinstance(found, Story)
    return found


async def _story(subject: Subject) -> Story:
    seen: list[Payload] = []
    watched = replace(subject, connector=_watched(subject.connector, seen))
    async with bench(watched) as each:
        async with each.ingesting():
            await each.polled()
        backfill = each.objects()
        queued = played(each)
        async with each.ingesting():
            await each.send(queued)
            await each.settled()
        each.later(PAUSE)
        async with each.ingesting():
            await each.polled()
            await each.settled()
        end, letters = each.objects(), each.letters()
    alone = await told(subject, list)
    return Story(_few(seen), backfill, alone.objects, alone.hinted, end, letters)


async def told(
    subject: Subject, change: Callable[[Sequence[Queued]], Sequence[Queued]], faults: Sequence[Fault] = ()
) -> Told:
    """What a hub knows that gets the story's pushes, changed, and polls nothing."""
    if subject.connector.webhook is None:
        return Told({}, (), 0, 0)
    hinted: set[tuple[str, str]] = set()
    deaf = replace(subject, connector=replace(_noted(subject.connector, hinted), streams=(), listings=()), seen={})
    async with bench(deaf) as each:
        queued = change(played(each))
        each.mock.faulty.faults += faults
        async with each.ingesting():
            await each.known()
            await each.send(queued)
            await each.settled()
        return Told(each.objects(), hinted, each.letters(), each.mock.faulty.struck)


def played(each: Bench) -> list[Queued]:
    """Soon after the last fetch the story goes on, a beat a second; what the source tells of it, without forgeries."""
    each.later(SOON)
    found: list[Queued] = []
    for _ in range(BEATS):
        each.later(_BEAT)
        found += [queued for queued in each.mock.player.step(1) if not queued[1].forged]
    return found


async def pushes(subject: Subject) -> list[Push]:
    """What the mock tells in the story, with nobody listening."""
    found = subject.seen.get("pushes")
    if found is None:
        async with bench(subject) as each:
            found = subject.seen["pushes"] = [push for _, push in played(each)]
    assert isinstance(found, list)
    return found


async def payloads(subject: Subject) -> Sequence[Payload]:
    """The samples', and those of the mock as far as they come."""
    found = [sample.payload for sample in subject.samples]
    with suppress(BrokenError):
        found += (await story(subject)).payloads if subject.mock else ()
    if not found:
        raise NotRunError("the connector has neither samples nor a mock")
    return found


def _watched(connector: Connector[Any], seen: list[Payload]) -> Connector[Any]:
    def normalize(payload: Payload) -> Any:
        seen.append(payload)
        return connector.normalize(payload)

    return replace(connector, normalize=normalize)


def _noted(connector: Connector[Any], hinted: set[tuple[str, str]]) -> Connector[Any]:
    fetch = connector.hydrate
    if fetch is None:
        return connector

    def hydrate(http: Any, config: Any, account: str, hints: Sequence[Hint]) -> Any:
        hinted.update((hint.kind, hint.id) for hint in hints)
        return fetch(http, config, account, hints)

    return replace(connector, hydrate=hydrate)


def _few(seen: Sequence[Payload]) -> list[Payload]:
    counts: dict[tuple[str, bool], int] = {}
    found = []
    for payload in seen:
        kind = payload.kind, payload.pushed
        counts[kind] = counts.get(kind, 0) + 1
        if counts[kind] <= _MOST:
            found.append(payload)
    return found
