"""Identifiers in one spelling, and those that may join nobody. Pure: nothing is looked up in the network.

A spelling is canonical when the same mailbox, line or account always comes out as the same text. What identifies nobody
(an anonymous caller, a SIP address, a typing error) has none. What identifies somebody, but not one person (a role
mailbox, a placeholder, our own line) has one and is blocked: it can be looked up and joins nobody.
"""

import re
import unicodedata
from fnmatch import translate
from functools import lru_cache

import phonenumbers
from email_validator import EmailNotValidError, validate_email

from core.identity.model import Rules

# RFC 2142 and what help desks and shops use beside it; compared with the part before `@` up to a plus.
_ROLES = """
abuse accounting accounts admin administrator alerts all billing bookings bounce bounces careers contact customercare
customerservice donotreply enquiries everyone feedback finance ftp hello help helpdesk hostmaster hr info inquiries
invoice invoices jobs legal mailer-daemon marketing news newsletter noc noreply notification notifications office
orders postmaster press privacy reception root sales security service staff subscribe support team unsubscribe usenet
uucp webmaster www
"""
_PLACEHOLDERS = """
anonymous asdf dummy example fake guest invalid missing n.a na no-email no-mail nobody noemail nomail none noone null
placeholder test tester testing undefined unknown xx xxx
"""
ROLE_MAILBOXES = frozenset(_ROLES.split())
PLACEHOLDERS = frozenset(_PLACEHOLDERS.split())
_NO_EXTERNAL_ID = PLACEHOLDERS | frozenset({"-", "0", "n/a", "nan", "false", "true"})
_NO_REPLY = re.compile(r"(no|do[-._]?not)[-._]?reply\b")
_EQUAL_DIGITS = re.compile(r"\+\d{0,3}(\d)\1{6,}")  # a country's code, then nothing but one digit

_LONGEST = 512
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_LINE = re.compile(r"(?i)(?:tel|sms|whatsapp):\s*(?=\+)")
# A SIP or client address, and what is only an extension.
_NO_LINE = re.compile(r"(?i)@|[a-z]+:|\s*(?:x|ext|extn|extension|#)\b")


def canonical(kind: str, value: str, rules: Rules, *, namespace: str | None = None) -> str | None:
    """`email:a@example.com`, `phone:+12025550143` (E.164), `external_id:<namespace>:<value>`; None: identifies nobody.

    E-mail addresses are lower-cased as a whole and keep their plus tags; nothing asks DNS. Numbers without + or 00 are
    read as in `rules.region` and lose their extension. External ids keep their case and need a namespace.
    """
    value = value.strip()
    if not value or len(value) > _LONGEST or _CONTROL.search(value):
        return None
    match kind:
        case "email":
            return _email(value)
        case "phone":
            return _phone(value, rules.region)
        case "external_id" if namespace:
            # A colon ends the namespace, so none may stand in it.
            label = namespace.replace("%", "%25").replace(":", "%3A")
            return f"external_id:{label}:{unicodedata.normalize('NFC', value)}"
        case _:
            return None


def is_blocked(identifier: str, rules: Rules) -> bool:
    """Whether a canonical identifier joins nobody: a role mailbox, a placeholder, or what `block` and `own` name."""
    return _blocked(identifier, rules.region, (*rules.block, *rules.own))


def bare(identifier: str) -> str:
    """The value of a canonical identifier without kind and namespace."""
    kind, _, value = identifier.partition(":")
    return value.partition(":")[2] if kind == "external_id" else value


@lru_cache(maxsize=65_536)
def _email(value: str) -> str | None:
    try:
        found = validate_email(_visible(value), check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        return None
    return "email:" + unicodedata.normalize("NFC", found.normalized.lower())


@lru_cache(maxsize=65_536)
def _phone(value: str, region: str) -> str | None:
    text = _LINE.sub("", _visible(value))
    if _NO_LINE.match(text) or "@" in text:
        return None
    # 00 goes abroad from most countries; where it does not (011, 0011), the region's own reading comes first.
    digits = re.sub(r"[\s()./-]", "", text)
    return _e164(text, region) or (_e164("+" + digits[2:], region) if digits.startswith("00") else None)


def _e164(text: str, region: str) -> str | None:
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    return "phone:" + str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


def _visible(value: str) -> str:
    """Without marks of direction and joiners, which come along when an address is copied from a screen."""
    return value if value.isascii() else "".join(each for each in value if unicodedata.category(each) != "Cf").strip()


@lru_cache(maxsize=65_536)
def _blocked(identifier: str, region: str, entries: tuple[str, ...]) -> bool:
    exact, pattern = _listed(region, entries)
    value = bare(identifier)
    return identifier in exact or _joins_nobody(identifier, value) or bool(pattern and pattern.match(value.lower()))


def _joins_nobody(identifier: str, value: str) -> bool:
    match identifier.partition(":")[0]:
        case "email":
            local = value.rpartition("@")[0].partition("+")[0]
            return local in ROLE_MAILBOXES or local in PLACEHOLDERS or bool(_NO_REPLY.match(local))
        case "phone":
            return bool(_EQUAL_DIGITS.fullmatch(value))
        case _:
            return value.lower() in _NO_EXTERNAL_ID


@lru_cache(maxsize=64)
def _listed(region: str, entries: tuple[str, ...]) -> tuple[frozenset[str], re.Pattern[str] | None]:
    """What settings name: whole addresses and numbers in any spelling, and shell patterns."""
    rules = Rules(region=region)
    exact, patterns = set(), []
    for entry in entries:
        found = None if "*" in entry else canonical("email" if "@" in entry else "phone", entry, rules)
        if found:
            exact.add(found)
        else:
            text = entry.strip().lower()
            patterns.append(translate(text if "@" in text else re.sub(r"(?<=[\d*+)]) ?[-(]?(?=[\d*])", "", text)))
    return frozenset(exact), re.compile("|".join(patterns)) if patterns else None
