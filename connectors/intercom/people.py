"""Contacts with their notes, companies, admins and teams. Pure.

A webhook's contact shows its tags and subscriptions by id alone: then it is a patch that leaves them as they were.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from connectors.intercom.shapes import (
    CHOICES,
    MAKER,
    Item,
    clock,
    listed,
    moment,
    part,
    present,
    reference,
    sequence,
    stamp,
    text,
    whole,
)
from core.sdk import NormalizeError, Payload
from schemas.entities import Consent, Identifier, Membership, Note, Organization, Party, Person, Staff, Team
from schemas.event import Event

_ROLES = {"user": "customer", "lead": "lead", "contact": "customer", "visitor": "lead"}


def contact(payload: Payload) -> Iterator[Event]:
    item: Item = payload.data
    yield _contact(payload, item, clock(payload, item))
    yield from _notes(payload, item)
    for merge in listed(item, "merge_history", "data"):
        yield _merge(payload, merge.get("source_contact_id"), item.get("id"), moment(merge.get("merged_at")))


def unarchived(payload: Payload) -> Iterator[Event]:
    """Back from the archive. `updated_at` may be older than the archiving: the second event brings nothing but that the
    contact is there again."""
    yield from contact(payload)
    yield MAKER.upserted(payload, "contact", payload.data.get("id") or "", Person(), clock=payload.at, mode="patch")


def merged(payload: Payload) -> Iterator[Event]:
    """`id` was absorbed by `into`; from the survivor's merge history, or from an answer 410."""
    item: Item = payload.data
    yield _merge(payload, item.get("id"), item.get("into"), moment(item.get("merged_at")) or payload.at)


def _merge(payload: Payload, id: object, into: object, at: int | None) -> Event:
    if not present(into):
        raise NormalizeError("a merge names no survivor")
    return MAKER.merged(payload, "contact", present(id) or "", Person, into=present(into) or "", clock=at)


def _contact(payload: Payload, item: Item, at: int | None) -> Event:
    id = item.get("id") or ""
    location = part(item, "location")
    app = payload.headers.get("app")
    facts: dict[str, Any] = {"tags": _tags(item), "consent": _consent(payload, item)}
    told = {name: value for name, value in facts.items() if value is not None}
    person = Person(
        role=_ROLES.get(item.get("role") or ""),
        display_name=item.get("name") or None,
        identifiers=_identifiers(payload, item),
        organizations=[
            Membership(key=MAKER.key(payload, "company", company["id"]), name=company.get("name"))
            for company in listed(item, "companies", "data", "companies")
            if company.get("id")
        ],
        language=item.get("language_override") or item.get("browser_language") or None,
        country=location.get("country_code") or location.get("country") or None,
        owner=reference(payload, "admin", item.get("owner_id")),
        customer_since=stamp(item.get("signed_up_at")),
        attributes=dict(part(item, "custom_attributes")),
        created_at=stamp(item.get("created_at")),
        updated_at=stamp(item.get("updated_at")),
        source_state=item.get("role") or None,
        url=f"{app}/a/apps/{payload.account}/users/{id}/all-conversations" if app else None,
        **told,
    )
    mode = "full" if len(told) == len(facts) else "patch"
    return MAKER.upserted(payload, "contact", id, person, clock=at, sequence=sequence(payload, item), mode=mode)


def _tags(item: Item) -> list[str] | None:
    tags = whole(item, "tags", "name")
    return None if tags is None else [str(tag["name"]) for tag in tags]


def _identifiers(payload: Payload, item: Item) -> list[Identifier]:
    """Addresses of leads are not unique. A lead's external id is made up by Intercom and says nothing."""
    found = [
        Identifier(kind=kind, value=value, primary=True)
        for kind, value in (("email", present(item.get("email"))), ("phone", present(item.get("phone"))))
        if value
    ]
    own = present(item.get("external_id"))
    if own and item.get("role") != "lead":
        namespace = payload.headers.get("namespace", "customer")
        found.append(Identifier(kind="external_id", value=own, namespace=namespace))
    return found


def _consent(payload: Payload, item: Item) -> list[Consent] | None:
    """Who did not unsubscribe has not thereby agreed: that is `unknown`. A complaint about spam refuses, too."""
    found = []
    for channel, field in (("email", "unsubscribed_from_emails"), ("sms", "unsubscribed_from_sms")):
        value = item.get(field)
        if isinstance(value, bool):
            refused = value or (channel == "email" and item.get("marked_email_as_spam") is True)
            agreed = channel == "sms" and item.get("sms_consent") is True
            state = "denied" if refused else "granted" if agreed else "unknown"
            found.append(Consent(channel=channel, purpose="marketing", state=state))
    for name in CHOICES:
        chosen = whole(item, name, "consent_type", "default_translation")
        if chosen is None and (payload.pushed or item.get(name) is not None):
            return None  # which subscriptions these are, and whether there are others, is not shown here
        found += [each for subscription in chosen or () for each in _chosen(subscription)]
    return found


def _chosen(subscription: Item) -> Iterator[Consent]:
    """One of the workspace's subscriptions that the contact decided on, on each channel that it uses."""
    state = "granted" if subscription.get("consent_type") == "opt_in" else "denied"
    channels = subscription.get("content_types")
    for channel in channels if isinstance(channels, list) else ():
        purpose = part(subscription, "default_translation").get("name") or present(subscription.get("id"))
        yield Consent(channel="sms" if channel == "sms_message" else str(channel), purpose=purpose, state=state)


def _notes(payload: Payload, item: Item) -> Iterator[Event]:
    """What staff wrote down about the contact; only filled contacts show the text."""
    person = MAKER.key(payload, "contact", present(item.get("id")) or "")
    for note in listed(item, "notes", "data"):
        if not (body := text(note.get("body"))):
            continue
        by, at = part(note, "author"), stamp(note.get("created_at"))
        shape = Note(
            author=reference(payload, "admin", by.get("id"), by.get("name")), body=body, at=at, created_at=at,
            parties=[Party(role="requester", person=person)], visibility="internal",
        )  # fmt: skip
        yield MAKER.upserted(
            payload, "note", present(note.get("id")) or "", shape, clock=moment(note.get("created_at"))
        )


def company(payload: Payload) -> Iterator[Event]:
    item: Item = payload.data
    website = present(item.get("website"))
    host = urlsplit(website if website and "//" in website else f"//{website or ''}").hostname
    organization = Organization(
        name=item.get("name") or None,
        domains=[host.removeprefix("www.")] if host else [],
        tier=part(item, "plan").get("name") or None,
        tags=[tag["name"] for tag in listed(item, "tags", "tags") if tag.get("name")],
        attributes=dict(part(item, "custom_attributes")),
        created_at=stamp(item.get("created_at")),
        updated_at=stamp(item.get("updated_at")),
    )
    yield MAKER.upserted(
        payload,
        "company",
        item.get("id") or "",
        organization,
        clock=clock(payload, item),
        sequence=sequence(payload, item),
    )


def admin(payload: Payload) -> Iterator[Event]:
    """Admins and teams carry no clock: the time of the look orders them."""
    item: Item = payload.data
    away = item.get("away_mode_enabled")
    teams = item.get("team_ids")
    staff = Staff(
        name=item.get("name") or None,
        email=item.get("email") or None,
        teams=[
            found
            for id in (teams if isinstance(teams, list) else [])
            if (found := reference(payload, "team", id)) is not None
        ],
        availability=None if away is None else "away" if away else "available",
    )
    yield MAKER.upserted(payload, "admin", present(item.get("id")) or "", staff, clock=None)


def team(payload: Payload) -> Iterator[Event]:
    item: Item = payload.data
    yield MAKER.upserted(
        payload, "team", present(item.get("id")) or "", Team(name=item.get("name") or None), clock=None
    )
