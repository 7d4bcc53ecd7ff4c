"""Deliveries: the genuine ones are taken, what is not proved is refused, and nothing of a secret gets through.

How deliveries are proved is the mock's to know: `sign` makes genuine and wrongly keyed ones, and a simulator may name
in `cannot_show` what its source's scheme cannot tell ("tampered", "stale").
"""

import io
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import orjson

from core.bus.topics import DEAD, EVENTS, HINTS, PAST, RAW
from core.conformance.bench import Bench, bench
from core.conformance.forgery import PLAIN, Signed, alone, bare, changed, cut, renamed
from core.conformance.mapping import numbers_as_text, without_fields
from core.conformance.story import pushes
from core.conformance.subject import BrokenError, ExemptError, NotRunError, Subject, unless_told
from core.conformance.watch import watched
from core.errors import HubError, SignatureError
from core.sdk import Delivery, Split
from core.sdk.simulator import Push

_MOST = 12  # deliveries that are tried, of different kinds
_STALE = timedelta(hours=1)


@dataclass
class Door:
    """The listener of a running ingest, as the source sees it."""

    bench: Bench
    target: str
    session: aiohttp.ClientSession

    def signed(self, push: Push, *, early: timedelta = timedelta(0)) -> Signed:
        now = datetime.fromtimestamp(self.bench.mock.player.clock.now() / 1000, UTC)
        return Signed(*self.bench.simulator.sign(push, self.target, now - early))

    async def post(self, given: Signed) -> int:
        async with self.session.post(
            given.url, data=io.BytesIO(given.body), headers=given.headers, allow_redirects=False
        ) as answer:
            await answer.read()
            return answer.status

    def published(self) -> tuple[int, int]:
        """Messages that tell something, and dead letters."""
        bus = self.bench.bus
        return sum(len(bus.records(topic)) for topic in (EVENTS, PAST, HINTS)), len(bus.records(DEAD))


@asynccontextmanager
async def door(subject: Subject) -> AsyncIterator[tuple[Door, Sequence[Push]]]:
    """Ingest with nothing before it, and genuine pushes of many kinds."""
    if subject.connector.webhook is None:
        raise ExemptError("the connector has no webhooks")
    told = await pushes(subject)
    chosen = list({push.kind: push for push in told}.values())[:_MOST]
    if not chosen:
        raise NotRunError("the mock's story brings no webhook")
    quiet = replace(subject, connector=replace(subject.connector, streams=(), listings=()), seen={})
    async with bench(quiet) as each, aiohttp.ClientSession() as session:
        async with each.ingesting():
            target, each.mock.courier.target = each.mock.courier.target, ""
            await each.known()
            yield Door(each, target, session), chosen


async def genuine(subject: Subject) -> None:
    async with door(subject) as (listener, pushes):
        for push in pushes:
            status = await listener.post(listener.signed(push))
            if status != 202:
                raise BrokenError(f"a genuine delivery of {push.kind} is answered {status}: {_why(listener)}")
            if listener.published()[1]:
                raise BrokenError(f"a genuine delivery of {push.kind} becomes a dead letter")


async def unsigned(subject: Subject) -> None:
    async with door(subject) as (listener, pushes):
        for push in pushes:
            given = listener.signed(push)
            nameless = bare(given, listener.target, subject.secrets)
            if nameless == given:
                raise BrokenError("nothing in a delivery proves where it comes from")
            await _refused(listener, nameless, f"{push.kind} without its proof")


async def wrong_key(subject: Subject) -> None:
    async with door(subject) as (listener, pushes):
        for push in pushes:
            await _refused(listener, listener.signed(replace(push, forged=True)), f"{push.kind} with another key")


async def tampered(subject: Subject) -> None:
    async with door(subject) as (listener, pushes):
        _may_show(listener, "tampered")
        for push in pushes:
            given = listener.signed(push)
            await _refused(listener, replace(given, body=changed(given.body)), f"{push.kind} with a changed body")


async def stale(subject: Subject) -> None:
    async with door(subject) as (listener, pushes):
        _may_show(listener, "stale")
        for push in pushes:
            await _refused(listener, listener.signed(push, early=_STALE), f"{push.kind} signed an hour ago")


async def garbled(subject: Subject) -> None:
    """`verify` alone: whatever stands where the proof should stand is refused in words of its own."""
    async with door(subject) as (listener, pushes):
        given = listener.signed(pushes[0])
    webhook, settings = subject.connector.webhook, subject.settings()
    assert webhook is not None
    path_secret = given.url.removeprefix(listener.target).strip("/")
    in_body = cut(orjson.loads(given.body), subject.secrets) != orjson.loads(given.body)
    names = [name for name in given.headers if name.lower() not in PLAIN]
    for body in (given.body, b"", b"\xff\xfe", b"[]", b"null", b'{"token": 7}'):
        for odd in ("", "é", "-1", "sha1=", "9" * 400, "nan"):
            headers = {name.lower(): odd if name in names else value for name, value in given.headers.items()}
            secret = odd if path_secret else ""
            delivery = Delivery("POST", given.url, headers, body, {}, secret)
            now = listener.bench.now()
            try:
                webhook.verify(delivery, settings, now)
            except SignatureError:
                continue
            except Exception as error:
                raise BrokenError(f"verify stumbles over a garbled proof: {type(error).__name__}") from error
            if not in_body or body != given.body:
                raise BrokenError("verify takes a garbled proof")


async def pure(subject: Subject) -> None:
    async with door(subject) as (listener, pushes):
        webhook, settings = subject.connector.webhook, subject.settings()
        assert webhook is not None
        for push in pushes:
            for name, work in _works(subject, listener, listener.signed(push), settings):
                work()
                first, said = watched(work)
                if said:
                    raise BrokenError(f"{name}: {said[0]}")
                if repr(first) != repr(work()):
                    raise BrokenError(f"{name} gives something else the second time")


async def unknown_event(subject: Subject) -> None:
    unless_told(subject)
    async with door(subject) as (listener, pushes):
        single = [replace(push, body=alone(push.body)) for push in pushes]
        known = [push for push in single if push.kind and renamed(push.body, push.kind) != push.body]
        if not known:
            raise NotRunError("the mock's pushes do not name their event")
        for push in known:
            odd = replace(push, body=renamed(push.body, push.kind))
            status = await listener.post(listener.signed(odd))
            published, dead = listener.published()
            if status != 202 or dead:
                raise BrokenError(f"an unknown event is answered {status}{' and buried' if dead else ''}: ignore it")
            if published:
                raise BrokenError("an unknown event is taken for one that is known")


async def other_account(subject: Subject) -> None:
    async with door(subject) as (listener, pushes):
        account = listener.bench.document["account"]
        named = [push for push in pushes if renamed(push.body, account, "another-account") != push.body]
        if not named:
            raise ExemptError("deliveries do not name their account")
        for push in named:
            odd = replace(push, body=renamed(push.body, account, "another-account"))
            await _refused(listener, listener.signed(odd), f"{push.kind} of another account")


async def odd_body(subject: Subject) -> None:
    async with door(subject) as (listener, pushes):
        settings = subject.settings()
        given = listener.signed(pushes[0])
        huge = replace(given, body=given.body + b" " * settings.max_body)
        if (status := await listener.post(huge)) != 413:
            raise BrokenError(f"a delivery above max_body is answered {status}")
        for body in ({}, {"unexpected": True}, [], [None], "text", None):
            try:
                signed = listener.signed(Push("odd", body, "odd"))
            except (TypeError, AttributeError, KeyError):
                continue  # the source could not say that
            if (status := await listener.post(signed)) >= 500:
                raise BrokenError(f"a delivery that is {body!r} is answered {status}: the source would repeat it")
        if (status := await listener.post(given)) != 202:
            raise BrokenError(f"after odd deliveries a genuine one is answered {status}")
        for push in pushes:
            _split_stumbles(subject, listener, push)


def _split_stumbles(subject: Subject, listener: Door, push: Push) -> None:
    """A delivery may lack any field, or hold a text for a number: it is taken as it is, or refused in words."""
    webhook, settings = subject.connector.webhook, subject.settings()
    assert webhook is not None
    delivery, body = _delivery(listener, listener.signed(push))
    for path, bent in (*without_fields(body), *numbers_as_text(body)):
        try:
            webhook.split(webhook.cut(bent), delivery, settings, listener.bench.document["account"], 0)
        except HubError:
            continue
        except Exception as error:
            raise BrokenError(f"split({push.kind}) with {path} changed raises {type(error).__name__}") from error


async def no_secret(subject: Subject) -> None:
    async with door(subject) as (listener, pushes):
        webhook, settings = subject.connector.webhook, subject.settings()
        assert webhook is not None
        for push in pushes:
            delivery, body = _delivery(listener, listener.signed(push))
            split = webhook.split(webhook.cut(body), delivery, settings, listener.bench.document["account"], 0)
            _without_secrets(repr([payload.data for payload in split.payloads]), subject, push.kind)
        for push in pushes:
            await listener.post(listener.signed(push))
        for topic in (EVENTS, PAST, RAW, DEAD, HINTS):
            for record in listener.bench.bus.records(topic):
                _without_secrets((record.value or b"").decode(errors="replace"), subject, f"the topic {topic}")


def _without_secrets(text: str, subject: Subject, where: str) -> None:
    if any(secret in text for secret in subject.secrets):
        raise BrokenError(f"a secret of the connection stands in what is kept of {where}: cut it")


async def _refused(listener: Door, given: Signed, what: str) -> None:
    before = listener.published()
    status = await listener.post(given)
    if status not in (401, 403, 404):
        raise BrokenError(f"{what} is answered {status} instead of refused")
    if listener.published() != before:
        raise BrokenError(f"{what} is refused and kept all the same")


def _may_show(listener: Door, what: str) -> None:
    if what in getattr(listener.bench.simulator, "cannot_show", ()):
        raise ExemptError(f"the source's scheme cannot show that a delivery is {what}")


def _delivery(listener: Door, given: Signed) -> tuple[Delivery, Any]:
    headers = {name.lower(): value for name, value in given.headers.items()}
    secret = given.url.removeprefix(listener.target).strip("/")
    return Delivery("POST", given.url, headers, given.body, {}, secret), orjson.loads(given.body)


def _works(subject: Subject, listener: Door, given: Signed, settings: Any) -> list[tuple[str, Any]]:
    webhook = subject.connector.webhook
    assert webhook is not None
    delivery, body = _delivery(listener, given)
    now = listener.bench.now()

    def split() -> Split | str:
        try:
            return webhook.split(webhook.cut(body), delivery, settings, listener.bench.document["account"], 1)
        except HubError as error:
            return str(error)

    return [("verify", lambda: webhook.verify(delivery, settings, now)), ("cut", lambda: webhook.cut(body)),
            ("split", split)]  # fmt: skip


def _why(listener: Door) -> str:
    return str(listener.bench.document.get("last_refusal") or "no reason is told")
