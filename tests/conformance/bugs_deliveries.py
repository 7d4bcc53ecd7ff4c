"""Seeded bugs: what deliveries prove, and how they are split."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from core.sdk import (
    Connector,
    Delivery,
    NormalizeError,
    SignatureError,
    Split,
)
from tests.conformance import desk
from tests.conformance.bugs import bug
from tests.conformance.desk import CONNECTOR, WEBHOOK, Config


def proving(verify: Callable[[Delivery, Config, datetime], None]) -> Connector[Any]:
    return replace(CONNECTOR, webhook=replace(WEBHOOK, verify=verify))


def bare(delivery: Delivery, name: str) -> bool:
    return name not in delivery.headers


@bug("genuine")
def a_header_is_expected_that_the_source_does_not_send() -> Connector[Any]:
    def verify(delivery: Delivery, config: Config, now: datetime) -> None:
        if bare(delivery, "x-desk-version"):
            raise SignatureError("no version")
        desk.verify(delivery, config, now)

    return proving(verify)


@bug("unsigned")
def what_is_not_signed_is_trusted() -> Connector[Any]:
    def verify(delivery: Delivery, config: Config, now: datetime) -> None:
        if not bare(delivery, "x-desk-signature"):
            desk.verify(delivery, config, now)

    return proving(verify)


@bug("wrong-key")
def any_signature_will_do() -> Connector[Any]:
    def verify(delivery: Delivery, config: Config, now: datetime) -> None:
        if bare(delivery, "x-desk-signature"):
            raise SignatureError("no signature")

    return proving(verify)


@bug("tampered")
def one_signature_stays_good_for_other_bodies() -> Connector[Any]:
    """The signatures of this process' first deliveries are remembered, and then good for whatever comes with them."""
    good: set[str] = set()

    def verify(delivery: Delivery, config: Config, now: datetime) -> None:
        given = delivery.headers.get("x-desk-signature", "")
        try:
            desk.verify(delivery, config, now)
            good.add(given)
        except SignatureError as error:
            if given not in good or error.code == "stale":
                raise

    return proving(verify)


@bug("stale")
def old_deliveries_are_good() -> Connector[Any]:
    def verify(delivery: Delivery, config: Config, now: datetime) -> None:
        try:
            desk.verify(delivery, config, now)
        except SignatureError as error:
            if error.code != "stale":
                raise

    return proving(verify)


@bug("garbled")
def the_time_is_thought_a_number() -> Connector[Any]:
    def verify(delivery: Delivery, config: Config, now: datetime) -> None:
        if not bare(delivery, "x-desk-sent"):
            int(delivery.headers["x-desk-sent"])
        desk.verify(delivery, config, now)

    return proving(verify)


def splitting(split: Callable[[Any, Delivery, Config, str, int], Split]) -> Connector[Any]:
    return replace(CONNECTOR, webhook=replace(WEBHOOK, split=split))


@bug("other-account")
def the_account_is_not_looked_at() -> Connector[Any]:
    def split(body: Any, delivery: Delivery, config: Config, account: str, received: int) -> Split:
        body = {**body, "account": account} if isinstance(body, dict) else body
        return desk.split(body, delivery, config, account, received)

    return splitting(split)


@bug("pure-webhook")
def the_clock_in_a_split() -> Connector[Any]:
    def split(body: Any, delivery: Delivery, config: Config, account: str, received: int) -> Split:
        found = desk.split(body, delivery, config, account, received)
        return found if time.time() else Split()

    return splitting(split)


@bug("unknown-event")
def an_unknown_event_is_a_mistake() -> Connector[Any]:
    def split(body: Any, delivery: Delivery, config: Config, account: str, received: int) -> Split:
        found = desk.split(body, delivery, config, account, received)
        if found.ignored:
            raise NormalizeError("unknown event")
        return found

    return splitting(split)


@bug("odd-body")
def every_delivery_is_thought_to_have_data() -> Connector[Any]:
    def split(body: Any, delivery: Delivery, config: Config, account: str, received: int) -> Split:
        if isinstance(body, dict) and body.get("event") in ("person.changed", "ticket.changed"):
            body["data"]["id"]
        return desk.split(body, delivery, config, account, received)

    return splitting(split)


@bug("secret-cut")
def the_token_is_kept() -> Connector[Any]:
    def split(body: Any, delivery: Delivery, config: Config, account: str, received: int) -> Split:
        found = desk.split(body, delivery, config, account, received)
        payloads = [
            replace(payload, data={**payload.data, "envelope": config.token.get_secret_value()})
            for payload in found.payloads
            if isinstance(payload.data, dict)
        ]
        return replace(found, payloads=payloads)

    return splitting(split)
