"""A customer's record as lines of text. Pure but for ages, which count to now."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from core.cli.terminal import age, ago, local, span

LISTED = ("conversations", "calls", "tasks", "deals")  # what the list of customers counts as open
_CARDS = (
    "ringing", *LISTED, "orders", "invoices", "payments", "subscriptions", "notes",
    "custom",
)  # fmt: skip
_FACTS = (
    ("email", "E-mail"), ("phone", "Phone"), ("language", "Language"), ("time_zone", "Time zone"),
    ("country", "Country"), ("tier", "Tier"), ("owner", "Owner"), ("tags", "Tags"),
)  # fmt: skip


def lines(record: Mapping[str, Any]) -> Iterator[str]:
    """Top to bottom: who, what waits, what is open, what happened, where it is known from."""
    since = value(record, "customer_since")
    organization = (value(record, "organization") or {}).get("name")
    who = [value(record, "name") or "(no name)", organization, f"customer for {span(age(since))}" if since else None]
    yield " · ".join(filter(None, who))
    yield f"{record['id']} · version {record['version']}"
    if waiting := record.get("waiting_since"):
        yield f"waiting {span(age(waiting))}, since {local(waiting)}"
    for candidate in record.get("candidates") or ():
        names = ", ".join(each.get("name") or each["id"] for each in candidate.get("customers") or ())
        yield f"perhaps {names or 'somebody else'}: {candidate['reason']}"
    for contested in record.get("contested") or ():
        yield f"{contested['identifier']} is used by {contested['people']} people"
    yield from _section("Facts", _facts(record))
    yield from _section("Open", (_card(card) for card in opened(record)))
    yield from _section("More", (_own(card) for card in record.get("custom") or ()))
    yield from _section("Timeline", (_moment(moment) for moment in record.get("timeline") or ()))
    yield from _section("Knowledge", (_article(article) for article in record.get("knowledge") or ()))
    yield from _section("Known from", (_person(person) for person in record.get("people") or ()))
    freshness = (record.get("freshness") or {}).items()
    yield from _section("Heard", (f"{source}  {ago(its.get('heard')) or 'never'}" for source, its in freshness))


def value(record: Mapping[str, Any], fact: str) -> Any:
    """A fact's shown value; None where nobody said it."""
    return ((record.get("profile") or {}).get(fact) or {}).get("value")


def opened(record: Mapping[str, Any], of: Sequence[str] = _CARDS) -> list[Mapping[str, Any]]:
    """Cards that still need somebody, each once."""
    cards = {card["key"]: card for name in of for card in record.get(name) or () if card.get("open")}
    return list(cards.values())


def _section(title: str, rows: Iterator[str]) -> Iterator[str]:
    shown = list(rows)
    if shown:
        yield ""
        yield title
        yield from (f"  {row}" for row in shown)


def _facts(record: Mapping[str, Any]) -> Iterator[str]:
    for fact, label in _FACTS:
        known = (record.get("profile") or {}).get(fact)
        if not known:
            continue
        others = dict.fromkeys(_text(other["value"]) for other in known.get("others") or ())
        others.pop(_text(known["value"]), None)
        also = f"; also {', '.join(others)}" if others else ""
        yield f"{label:10} {_text(known['value'])}  ({known['source']}{also})"


def _card(card: Mapping[str, Any]) -> str:
    who = (card.get("assignee") or card.get("owner") or {}).get("name")
    due = f"due {local(card['due_at'])}" if card.get("due_at") else None
    told = [card.get("status") or card.get("state"), f'"{title}"' if (title := card.get("title")) else None, who, due]
    return "  ".join(filter(None, [card["entity"], *told, ago(card.get("at")), card.get("url")]))


def _own(card: Mapping[str, Any]) -> str:
    """An object of the company's own, under its own name."""
    title = f'"{card["title"]}"' if card.get("title") else None
    facts = [f"{name}: {_text(its)}" for name, its in (card.get("attributes") or {}).items()]
    told = [card.get("kind") or card["entity"], card.get("source_state"), title, *facts, card.get("url")]
    return "  ".join(filter(None, told))


def _moment(moment: Mapping[str, Any]) -> str:
    told = [moment.get("status"), f'"{title}"' if (title := moment.get("title")) else None]
    return "  ".join(filter(None, [local(moment["at"]), f"{moment['entity']:12}", *told]))


def _article(article: Mapping[str, Any]) -> str:
    verified = "verified" if article.get("verified") else "not verified"
    until = f" until {local(article['verified_until'])[:10]}" if article.get("verified_until") else ""
    return "  ".join(filter(None, [article.get("title"), verified + until, article.get("url")]))


def _person(person: Mapping[str, Any]) -> str:
    held = ", ".join(f"{each['value']} ({each['class']})" for each in person.get("identifiers") or ())
    joined = f"by {person['joined_by']}" if person.get("joined_by") else None
    name = "only a number or address" if person.get("implied") else person.get("name")
    return "  ".join(filter(None, [person["key"], name, held, joined, person.get("url")]))


def _text(shown: Any) -> str:
    match shown:
        case list():
            return ", ".join(map(str, shown))
        case dict():
            return str(shown.get("name") or shown.get("key") or "")
    return str(shown)
