"""Whether the store's records are folded by this process's rules: if not, a rebuild is due; a person says when."""

import hashlib

import orjson
import structlog

from core.errors import StaleWorkerError
from core.process.settings import Settings
from core.projection import FOLD_REVISION
from core.store import HubRow, Store

UNFINISHED = "unfinished "  # before the digest, while a rebuild is under way
MIXED = "mixed"  # instead of a digest: two workers, or one before and after hub.yaml changed, folded by different rules
REMEDY = "hub rebuild (a large store takes its time; with SQLite stop the hub first)"

log = structlog.get_logger()


def digest(settings: Settings) -> str:
    """Of all that decides what events become; the order of what has none does not count."""
    rules, show = settings.rules, settings.show
    said = {
        "revision": FOLD_REVISION,
        "region": rules.region,
        "proved": {vendor: sorted(kinds) for vendor, kinds in rules.proved.items()},
        "join": list(rules.join),
        "block": sorted(rules.block),
        "own": sorted(rules.own),
        "default": list(show.default),
        "facts": {fact: list(those) for fact, those in show.facts.items()},
    }
    return hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def due(hub: HubRow, settings: Settings) -> str | None:
    """Why a rebuild is due; None where it is not. Records of an older hub that never said by which rules count as
    folded by these, if its fold was the same."""
    if hub.rules.startswith(UNFINISHED):
        return "a rebuild is under way, or was broken off"
    if hub.fold_revision < FOLD_REVISION:
        return f"the records are folded by revision {hub.fold_revision}, this hub folds by {FOLD_REVISION}"
    if hub.rules and hub.rules != digest(settings):
        return "records are folded by other rules than `identity:` and `show:` of hub.yaml say"
    return None


def mixes(hub: HubRow, settings: Settings) -> bool:
    """Whether what is folded by these settings now stands beside what others folded, and nobody has noticed yet."""
    mine = digest(settings)
    return hub.rules not in ("", MIXED, mine, UNFINISHED + mine)


def refuse_older(hub: HubRow) -> None:
    """Raise StaleWorkerError where a newer hub has folded the store."""
    if hub.fold_revision > FOLD_REVISION:
        raise StaleWorkerError(
            f"the store is folded by revision {hub.fold_revision}, this process knows {FOLD_REVISION}: update it"
        )


class Due:
    """What one process says of it: once, and again when it changes. Until then only the customers that events touch
    follow its own rules."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store, self._settings = store, settings
        self._seen: tuple[int, str] | None = None
        self._said: str | None = None

    async def begin(self) -> None:
        """Before the first batch. Raises StaleWorkerError."""
        hub = await self._store.hub()
        refuse_older(hub)
        if not hub.rules and hub.fold_revision == FOLD_REVISION:
            async with self._store.writing() as writing:
                if not writing.hub.rules:
                    await writing.set_rules(digest(self._settings))
                hub = writing.hub
        self.look(hub)

    def look(self, hub: HubRow) -> None:
        """At the hub's row as a batch found it: a tuple is compared, no more, unless somebody has rebuilt."""
        seen = hub.fold_revision, hub.rules
        if seen == self._seen:
            return
        self._seen = seen
        said, self._said = self._said, due(hub, self._settings)
        if self._said and self._said != said:
            log.warning("a rebuild is due: records follow different rules", reason=self._said, remedy=REMEDY)
