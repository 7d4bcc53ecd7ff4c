"""The first half of a batch, pure: events into registers, registers into rows, and what of a person they touch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from core import ledger
from core.bus.codec import Incoming
from core.identity import Rules, canonical, is_blocked
from core.projection import Carried, Place, Registers, Visible, article_text, card, names, person_state, place
from core.store import ObjectRow, PartyRow
from schemas.entities import ACTIVITIES
from schemas.key import key, parse

UNHEARD = 2**62  # `first` of a person whom only activities name: by their key alone, so that no order decides
_UNTOLD = 0, ""  # as something was received of which no event told
# By which field each names what it cannot stand without.
_WHOLE = {"message": "conversation", "rating": "subject"}


class Person(NamedTuple):
    """What identity and the store need of a source person; compared to see whether identity must look again."""

    names: tuple[str, ...]
    first: int
    staff: bool
    departed: bool
    alias_of: str | None
    carried: frozenset[Carried]


@dataclass(slots=True)
class Changed:
    """What a batch of events changed, object by object.

    `before` and `after` give each changed person's Person; `state` their new facts. `parties` holds the new rows of the
    activities whose rows differ; `touched` maps persons to the entity types that changed for them.
    """

    rows: list[ObjectRow] = field(default_factory=list)
    before: dict[str, Person | None] = field(default_factory=dict)
    after: dict[str, Person] = field(default_factory=dict)
    state: dict[str, bytes] = field(default_factory=dict)
    parties: dict[str, list[PartyRow]] = field(default_factory=dict)
    implied: dict[str, str] = field(default_factory=dict)  # person key -> identifier
    doubtful: set[str] = field(default_factory=set)  # whom an activity names no more, or one that may not be shown
    touched: dict[str, set[str]] = field(default_factory=dict)
    received: dict[str, tuple[int, str]] = field(
        default_factory=dict
    )  # person -> newest arrival (epoch ms), connection
    failed: list[tuple[Incoming, Exception]] = field(default_factory=list)
    erased: list[str] = field(default_factory=list)
    turned: dict[str, tuple[int, str]] = field(default_factory=dict)  # what is gone now, or back: as `received`
    found: list[ledger.Found] = field(default_factory=list)  # what webhooks should have told
    forgotten: set[str] = field(default_factory=set)  # persons whose source was taken out
    anew: bool = False  # `touched` is what there is, whether it changed or not


def change(changed: Changed, events: Mapping[str, list[Incoming]], held: Mapping[str, bytes], rules: Rules) -> None:
    """Apply events, by subject, to the registers that are held. An event that cannot be applied fails alone."""
    for subject, group in events.items():
        _change_one(changed, subject, group, held.get(subject), rules)


def follow(
    changed: Changed,
    turned: Mapping[str, tuple[int, str]],
    parts: Mapping[str, str],
    held: Mapping[str, bytes],
    rules: Rules,
) -> None:
    """`parts` (each with what it is part of) go and come back with what `turned`: they are emptied where that was
    erased, else whoever they name is folded again. `held`: their registers."""
    erased = set(changed.erased)
    for subject, data in held.items():
        whole, told = parts[subject], turned[parts[subject]]
        registers = Registers.load(data)
        before, was_gone = _before(subject, registers, rules), _is_gone(registers)
        if whole in erased:
            registers.apply(_erasure(subject, registers.entity, whole, *told))
            _settle(changed, subject, before, was_gone, registers, registers.dump(), told, rules)
        elif isinstance(before, Place):
            people = _parties(changed, subject, registers.entity, before, before, rules, surely=False)
            _touch(changed, people, told)


def rebuilt(held: Mapping[str, bytes], rules: Rules) -> Changed:
    """Everything that the registers say, as if all of it had changed: for a rebuild under new rules."""
    changed = Changed(anew=True)
    for subject, data in held.items():
        registers = Registers.load(data)
        _derive(changed, subject, None, registers, data, rules)
        if registers.state != "live":
            changed.turned[subject] = _UNTOLD
    return changed


def forgotten(held: Mapping[str, bytes], rules: Rules) -> Changed:
    """What follows where these objects were never heard of: their activities have no parties, their persons are at most
    those whom others' activities name."""
    changed = Changed()
    for subject, data in held.items():
        registers = Registers.load(data)
        visible = registers.visible()
        if _is_gone(registers):
            changed.turned[subject] = _UNTOLD
        if registers.entity == "person":
            changed.before[subject] = _person(subject, visible, rules)
            changed.forgotten.add(subject)
            changed.doubtful.add(subject)
            changed.touched.setdefault(subject, set()).add("person")
        elif registers.entity in ACTIVITIES:
            was = place(registers.entity, visible)
            nowhere = Place(was.at, False, False, ())
            _parties(changed, subject, registers.entity, was, nowhere, rules, surely=False)
    return changed


def part_of(entity: str, into: str | None, get: Callable[[str], Any]) -> str | None:
    """The key of what an object cannot stand without: of a message or rating what it belongs to, of a merged object the
    one that remains. `get` gives its fields."""
    found = into or (get(_WHOLE[entity]) if entity in _WHOLE else None)
    return found if isinstance(found, str) else None


def _is_gone(registers: Registers) -> bool:
    """With all that is part of it: that is emptied with whatever is erased, and hidden with a deleted conversation."""
    return registers.state == "erased" or (registers.entity, registers.state) == ("conversation", "deleted")


def _change_one(changed: Changed, subject: str, group: list[Incoming], data: bytes | None, rules: Rules) -> None:
    registers = Registers.load(data) if data else Registers(group[0].entity)
    was_gone = _is_gone(registers)
    try:
        before = _before(subject, registers, rules) if data else None
    except Exception as error:
        changed.failed.extend((event, error) for event in group)
        return
    for event in group:
        had = ledger.before(event, registers)
        try:
            registers.apply(event)
            if had and (found := ledger.found(event, had, registers)):
                changed.found.append(found)
        except Exception as error:  # one event that cannot be applied must not stop the rest
            changed.failed.append((event, error))
            registers = Registers.load(data) if data else Registers(group[0].entity)
            for earlier in group[: group.index(event)]:
                if all(earlier is not bad for bad, _ in changed.failed):
                    registers.apply(earlier)
    dump = registers.dump()
    if dump == data:
        return
    try:
        told = max((event.received, event.connection) for event in group)
        _settle(changed, subject, before, was_gone, registers, dump, told, rules)
    except Exception as error:
        changed.failed.extend((event, error) for event in group)


def _settle(
    changed: Changed,
    subject: str,
    before: Person | Place | None,
    was_gone: bool,
    new: Registers,
    dump: bytes,
    told: tuple[int, str],
    rules: Rules,
) -> None:
    """Take in what became of one object; `told`: the newest arrival behind it, by which connection."""
    _touch(changed, _derive(changed, subject, before, new, dump, rules), told)
    if _is_gone(new) != was_gone:
        changed.turned[subject] = told


def _touch(changed: Changed, people: Sequence[str], told: tuple[int, str]) -> None:
    for person in people:
        changed.received[person] = max(told, changed.received.get(person, _UNTOLD))


def _erasure(subject: str, entity: str, whole: str, received: int, connection: str) -> Incoming:
    """What the source says of the whole, said of its part."""
    return Incoming(
        f"{subject} with {whole}", entity, "deleted", subject, (0, 0, 0, 0), received, connection, "full", {}, None,
        final=True, erased=True,
    )  # fmt: skip


def _derive(
    changed: Changed, subject: str, before: Person | Place | None, new: Registers, dump: bytes, rules: Rules
) -> Sequence[str]:
    """Add one object's rows; `before` is what it was. Returns the persons whose records it touches."""
    visible = new.visible()
    if visible.state == "erased":
        changed.erased.append(subject)
    if new.entity == "person":
        person = _person(subject, visible, rules)
        state = person_state(visible, sorted(person.carried)).dump()
        changed.before[subject] = before if isinstance(before, Person) else None
        changed.after[subject] = person
        changed.state[subject] = state
        changed.touched.setdefault(subject, set()).add("person")
        known = orjson.dumps({"key": subject, "entity": "person"}) if visible.state == "live" else None
        changed.rows.append(ObjectRow(subject, "person", None, dump, known))
        return (subject,)
    if new.entity in ACTIVITIES:
        now = place(new.entity, visible)
        was = before if isinstance(before, Place) else None
        rendered = card(subject, new, visible, now) if now.live else None
        parent = part_of(new.entity, visible.into, visible.get)
        changed.rows.append(ObjectRow(subject, new.entity, parent, dump, rendered))
        return _parties(changed, subject, new.entity, was, now, rules, surely=now.live and parent is None)
    text = article_text(visible) if new.entity == "article" else None
    known = None
    if visible.state == "live":
        facts = {name: fact.value for name, fact in sorted(visible.facts.items())}
        known = orjson.dumps({"key": subject, "entity": new.entity, **facts})
    changed.rows.append(ObjectRow(subject, new.entity, None, dump, known, text))
    return ()


def _before(subject: str, registers: Registers, rules: Rules) -> Person | Place | None:
    if registers.entity == "person":
        return _person(subject, registers.visible(), rules)
    return place(registers.entity, registers) if registers.entity in ACTIVITIES else None


def _person(subject: str, visible: Visible, rules: Rules) -> Person:
    vendor = subject.partition("/")[0]
    proves = rules.proved.get(vendor, frozenset())
    carried = set()
    for each in visible.get("identifiers") or ():
        identifier = canonical(each["kind"], each["value"], rules, namespace=each.get("namespace"))
        if identifier is None:
            continue
        class_ = each.get("class_") or "claimed"
        if class_ == "recorded" and each["kind"] in proves:
            class_ = "proved"
        carried.add(Carried(identifier, class_, bool(each.get("to")), bool(each.get("primary"))))
    return Person(
        names(visible),
        visible.first,
        visible.get("role") in ("staff", "bot"),
        visible.departed,
        visible.into if visible.state == "merged" else None,
        frozenset(carried),
    )


def _parties(
    changed: Changed, subject: str, entity: str, was: Place | None, now: Place, rules: Rules, *, surely: bool
) -> Sequence[str]:
    """`surely`: it is shown; of what is part of something else the store knows."""
    rows = _rows(subject, entity, now, rules, changed.implied)
    if was and was.parties == now.parties:
        old = [row._replace(at=was.at, open=was.open) for row in rows]
    else:
        old = _rows(subject, entity, was, rules, {}) if was else []
    if rows != old:
        changed.parties[subject] = rows
    people = sorted({row.person for row in (*rows, *old)})
    changed.doubtful.update({row.person for row in old} - {row.person for row in rows} if surely else people)
    for person in people:
        changed.touched.setdefault(person, set()).add(entity)
    return people


def _rows(subject: str, entity: str, now: Place, rules: Rules, implied: dict[str, str]) -> list[PartyRow]:
    """One row per person and role. Anonymous callers, our own lines and blocked addresses are nobody."""
    rows: dict[tuple[str, str], PartyRow] = {}
    for role, person, named in now.parties:
        if person is None and named:
            kind, value, namespace = named
            identifier = canonical(kind, value, rules, namespace=namespace)
            if identifier is None or is_blocked(identifier, rules):
                continue
            vendor, account, *_ = parse(subject)
            person = key(vendor, account, kind, identifier.partition(":")[2])
            implied[person] = identifier
        if person is not None:
            rows[person, role] = PartyRow(subject, person, role, entity, now.at, now.open)
    return [rows[each] for each in sorted(rows)]
