"""The seeded cast that all mock worlds share: invented people, staff and texts. Pure: a function of the seed.

All phones come from the ranges kept for fiction (+1 202 555 01xx, +44 20 7946 0xxx), all addresses from example.com.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SUPPORT_NUMBER = "+12025550199"
SUPPORT_EMAIL = "support@example.com"
LINE = "Support line"
OFFICE_PHONE = "+12025550100"  # three people at Example Bakery share it
CARRIER_PHONE = "+12025550188"  # outside of the company: calls are passed on to it


@dataclass(frozen=True, slots=True)
class Organization:
    """A company that several actors may belong to."""

    slug: str
    name: str
    domain: str


@dataclass(frozen=True, slots=True)
class Colleague:
    """One of the company's own people, the same in every tool."""

    slug: str
    given: str
    family: str
    email: str
    team: str  # slug in TEAMS


@dataclass(frozen=True, slots=True)
class Actor:
    """One true customer. `known` maps each vendor to what that tool knows at the opening: a source person per vendor.

    `known[vendor]` holds the fields of a `person.upsert` beat (see core.sdk.story); its ref is the actor's slug.
    """

    slug: str
    given: str
    family: str
    email: str = ""
    phone: str = ""
    organization: str = ""
    language: str = "en"
    country: str = "US"
    known: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.given} {self.family}"


ORGANIZATIONS = {
    item.slug: item
    for item in (
        Organization("bakery", "Example Bakery", "bakery.example.com"),
        Organization("bikes", "Example Bikes", "bikes.example.com"),
        Organization("books", "Example Books", "books.example.com"),
        Organization("clinic", "Example Clinic", "clinic.example.com"),
    )
}
TEAMS = {"support": "Support", "logistics": "Logistics"}
STAFF = {
    item.slug: item
    for item in (
        Colleague("maya", "Maya", "Lindqvist", "maya@example.com", "support"),
        Colleague("jonas", "Jonas", "Petrov", "jonas@example.com", "support"),
        Colleague("leila", "Leila", "Karimi", "leila@example.com", "support"),
        Colleague("sam", "Sam", "Carter", "sam@example.com", "logistics"),
    )
}


def _actor(slug: str, given: str, family: str, tools: str, **rest: str) -> Actor:
    """`tools` are words like `intercom:email aircall:phone hubspot:email,phone`: which tool knows which identifier.

    A field such as `intercom_given` overrides what one tool knows of a field.
    """
    own: dict[str, Any] = {key: value for key, value in rest.items() if "_" not in key}
    actor = Actor(slug, given, family, **own)
    known: dict[str, Mapping[str, str]] = {}
    for word in tools.split():
        vendor, _, identifiers = word.partition(":")
        facts = {"given": given, "family": family, "language": actor.language, "country": actor.country}
        facts |= {kind: getattr(actor, kind) for kind in identifiers.split(",")}
        if actor.organization:
            facts["organization"] = actor.organization
        prefix = vendor + "_"
        facts |= {key.removeprefix(prefix): value for key, value in rest.items() if key.startswith(prefix)}
        known[vendor] = facts
    return Actor(slug, given, family, known=known, **own)


# 12 people in Intercom, 9 in Aircall, 14 in HubSpot: 35 source persons of 17 people. Ben and Bea Ode write under one
# address and look like one customer until their customer numbers arrive: 16 customers.
CAST = {
    actor.slug: actor
    for actor in (
        _actor("dana", "Dana", "Reyes", "intercom:email hubspot:email,phone", email="dana.reyes@example.com",
               phone="+12025550143"),
        _actor("ines", "Inés", "Ferreira", "intercom:email aircall:email,phone hubspot:email,phone",
               email="ines@bakery.example.com", phone=OFFICE_PHONE, organization="bakery", language="pt", country="PT"),
        _actor("tom", "Tom", "Miller", "aircall:email,phone hubspot:email", email="tom@bakery.example.com",
               phone=OFFICE_PHONE, organization="bakery"),
        _actor("aiko", "Aiko", "Sato", "intercom:email hubspot:email,phone", email="aiko@bakery.example.com",
               phone=OFFICE_PHONE, organization="bakery", language="ja", country="JP"),
        _actor("ben", "Ben", "Ode", "intercom:email", email="ode@example.com"),
        _actor("bea", "Bea", "Ode", "intercom:email", email="ode@example.com", intercom_given="Bea B."),
        _actor("max", "<b>Max</b>", "Weber", "intercom:email hubspot:email", email="max.weber@example.com",
               language="de", country="DE"),
        _actor("yusuf", "يوسف", "حداد", "intercom:email aircall:phone hubspot:email,phone",
               email="yusuf.haddad@example.com", phone="+12025550121", language="ar", country="AE",
               aircall_given="Yusuf", aircall_family="Haddad", hubspot_given="Yusuf", hubspot_family="Haddad"),
        _actor("zoe", "Zoë", "Ångström", "intercom:email,phone aircall:phone hubspot:email",
               email="zoe@bikes.example.com", phone="+12025550122", organization="bikes", language="sv", country="SE"),
        _actor("lukasz", "Łukasz", "Wójcik", "aircall:phone hubspot:email,phone", email="lukasz.wojcik@example.com",
               phone="+12025550123", language="pl", country="PL"),
        _actor("noa", "נועה", "לוי", "intercom:email hubspot:email", email="noa.levi@example.com", language="he",
               country="IL"),
        _actor("priya", "Priya", "Natarajan", "intercom:email aircall:phone,email hubspot:email,phone",
               email="priya@books.example.com", phone="+12025550124", organization="books", country="IN"),
        _actor("chen", "伟", "陈", "aircall:phone hubspot:email,phone", email="wei.chen@example.com",
               phone="+12025550125", language="zh", country="CN", aircall_given="Wei", aircall_family="Chen"),
        _actor("amara", "Amara", "Okafor", "intercom:email hubspot:email", email="amara@clinic.example.com",
               organization="clinic", country="NG"),
        _actor("sofia", "Sofía", "Núñez", "aircall:email,phone hubspot:email", email="sofia.nunez@example.com",
               phone="+12025550126", language="es", country="ES"),
        _actor("olek", "Олексій", "Бондар", "intercom:email", email="oleksii.bondar@example.com", language="uk",
               country="UA"),
        _actor("grace", "Grace", "O’Neill", "aircall:phone hubspot:email,phone", email="grace.oneill@example.com",
               phone="+12025550127", country="GB"),
    )
}  # fmt: skip

# Who calls when nobody is named; each of them is known by their number.
CALLERS = ("dana", "zoe", "yusuf", "priya", "lukasz", "chen", "sofia", "grace")

# (subject, what the customer writes, what staff answer, title of the card that helps, its text)
TOPICS = (
    ("Bag never arrived", "The tracking page says delivered, but my bag never arrived.",
     "I am sorry. I have asked the carrier for proof of delivery and will come back to you.",
     "Missing parcel: refund or resend",
     "Marked delivered and never arrived: ask for the address, wait two working days, then refund or resend."),
    ("Wrong color in the box", "I ordered the green one and got a blue one.", "We will exchange it at our cost.",
     "Wrong item: exchange", "Send the right item at once with a return label; do not wait for the parcel."),
    ("Invoice has the old address", "Could you put our new address on it?", "Done, a new invoice is on its way.",
     "Invoices: change the address", "Cancel and reissue within the same quarter; later write a correction."),
    ("How do I reset my password?", "The reset mail does not reach me.", "Please look into the spam folder once more.",
     "Password reset mails", "Check the suppression list first, then send the link by hand. It is valid for an hour."),
    ("Discount code refused", "My code SPRING is refused at checkout.", "It works from Monday on; I have noted it.",
     "Discount codes that are refused", "Codes start at midnight UTC and do not add up."),
    ("Delivery to a neighbor", "Can the parcel go to my neighbor?", "Yes, until it leaves our warehouse.",
     "Change the delivery address", "Possible until the parcel is handed over; after that the carrier decides."),
    ("Broken zipper", "The zipper broke on the second day.", "We repair it free of charge for two years.",
     "Repairs under warranty", "Two years for zippers, seams and buckles; ask for a picture."),
    ("Renewal date", "When does our plan renew?", "On the 12th of next month.",
     "When plans renew", "Plans renew on the day of the month on which they began, at 09:00 UTC."),
    ("Charged twice", "My card was charged twice.", "One of the two is only reserved and lapses within three days.",
     "Double charges", "Usually one is an authorization. Two captures: refund the later one at once."),
    ("Gift wrapping", "Do you wrap gifts?", "Yes, choose it in the cart.",
     "Gift wrapping", "Available for all items but bicycles; the price is shown in the cart."),
    ("Return after 30 days", "I am two days late with my return.", "We will take it this time.",
     "Returns after 30 days", "Up to 40 days at the discretion of support; note the reason."),
)  # fmt: skip
MORE_CARDS = (
    "Opening hours", "Who is on call", "Carriers and cut-off times", "Customs forms", "Refund limits by role",
    "Abusive callers", "How we greet", "Escalate to logistics", "Voucher instead of refund", "Lost in customs",
    "Data requests",
)  # fmt: skip

GIVEN = (
    "Anaïs", "Bilal", "Chloé", "Dmytro", "Élodie", "Farah", "Goran", "Hana", "Ivo", "Jürgen", "Kofi", "Lúcia", "Mehmet",
    "Nadia", "Oskar", "Petra", "Quentin", "Rania", "Søren", "Tuğba", "Uma", "Viktor", "Wanda", "Ximena", "Yara",
    "Zdeněk",
)  # fmt: skip
FAMILY = (
    "Abara", "Björk", "Castillo", "Dvořák", "Eriksen", "Fischer", "García", "Hansen", "Ibrahim", "Jansen", "Kovács",
    "Lefèvre", "Mbeki", "Nowak", "Öztürk", "Popescu", "Quispe", "Rossi", "Silva", "Tanaka", "Urban", "Vega", "Wang",
    "Yılmaz", "Zhou",
)  # fmt: skip
COUPLES = (("Mia", "Mo"), ("Lea", "Luc"), ("Ana", "Ali"), ("Tim", "Tea"), ("Rui", "Rosa"), ("Eva", "Emil"))
