"""What goes into a partition, and what comes out of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from schemas.entities import EvidenceClass

STRATA = ("external_id", "proved_email", "email", "proved_phone", "phone")
CONTESTED_ABOVE = 20  # holders; above it an identifier is never traversed


@dataclass(frozen=True, slots=True)
class Rules:
    """The `identity:` section of hub.yaml. `proved` maps a vendor to the kinds whose word proves control there;
    `block` are shell patterns over e-mail addresses and numbers; `own` our own lines and mailboxes."""

    region: str = "US"
    proved: Mapping[str, frozenset[str]] = field(default_factory=dict)
    join: Sequence[str] = STRATA
    block: Sequence[str] = ()
    own: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class SourcePerson:
    """A node. `names` are the full names that this person goes by (empty: unknown). `first` is when the first event
    of theirs was received (epoch ms). `staff` never join customers."""

    key: str
    names: tuple[str, ...] = ()
    first: int = 0
    staff: bool = False


@dataclass(frozen=True, slots=True)
class Implied:
    """A number or address that took part in activities without a contact behind it. It hangs as a leaf."""

    key: str
    identifier: str
    first: int = 0


@dataclass(frozen=True, slots=True)
class Evidence:
    """A source person carries an identifier (canonical: `email:a@example.com`, `phone:+12025550143`,
    `external_id:shop:42`). `former`: they no longer do; it joins until somebody else currently holds it."""

    person: str
    identifier: str
    class_: EvidenceClass
    former: bool = False


@dataclass(frozen=True, slots=True)
class Alias:
    """The source merged `old` into `new`."""

    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """A person decided: every one of `left` and every one of `right` are the same, or different; the latest
    `sequence` wins per pair."""

    left: frozenset[str]
    right: frozenset[str]
    same: bool
    sequence: int


@dataclass(frozen=True, slots=True)
class Component:
    """A closed piece of the graph. `shared` are identifiers with more than CONTESTED_ABOVE holders: they join nobody
    and their other holders are not part of the component."""

    persons: Sequence[SourcePerson]
    implied: Sequence[Implied] = ()
    evidence: Sequence[Evidence] = ()
    aliases: Sequence[Alias] = ()
    verdicts: Sequence[Verdict] = ()
    shared: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Refusal:
    """Two groups of source persons that share an identifier and were not joined, with the reason for people
    (`two external ids`, `names clash`, `contested: 3 people`, `a person said they differ`, `claimed only`,
    `somebody else has it now`, `too many people hang together`, `no rule joins by it`). The identifier is `merge` or
    `verdict` where a verdict forbade one."""

    identifier: str
    people: tuple[tuple[str, ...], ...]  # the groups, in order of their anchors, each anchor first
    reason: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """Whom an implied person who hangs on nobody may be: anchors of the customers that hold the identifier."""

    implied: str
    anchors: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Partition:
    """`customers` maps each customer's anchor (a person key) to all its members, implied ones included, sorted. Staff
    are there, too, each alone.

    `joined_by` maps a member to the strongest identifier that joined it (`verdict`, `merge` or an identifier) where
    there was one. `contested` are the identifiers that several customers hold and that joined nobody. `circular`:
    persons who were merged in a circle, so that these merges do not count.
    """

    customers: Mapping[str, tuple[str, ...]]
    joined_by: Mapping[str, str] = field(default_factory=dict)
    contested: frozenset[str] = frozenset()
    refusals: Sequence[Refusal] = ()
    candidates: Sequence[Candidate] = ()
    circular: Sequence[str] = ()
