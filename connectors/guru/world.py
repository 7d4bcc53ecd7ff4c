"""The team that the mock of Guru plays: cards with their verification. Pure: no I/O, no clock.

Verifying moves no `lastModified`, and the end of a verification moves nothing and tells nobody.
"""

import html
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from core.sdk.cast import STAFF, TOPICS
from core.sdk.mock import Push
from core.sdk.story import Beat, uuid

Object = dict[str, Any]
DAY = 86_400_000


class Team:
    """All cards by id, archived ones among them; times in epoch ms. `now` is the last time of day that was told."""

    def __init__(self, seed: int, delivery_mode: str = "BATCH") -> None:
        self.seed = seed
        self.delivery_mode = delivery_mode
        self.cards: dict[str, Object] = {}
        self.now = 0
        self.words: dict[str, str] = {}  # tags that were merged into others, or deleted (empty)
        self._told = 0

    def card_id(self, ref: str) -> str:
        return uuid(self.seed, f"card:{ref}")

    def apply(self, beat: Beat, now: int) -> Sequence[Push]:
        """One beat of the story at `now` (epoch ms). What is unknown or gone changes nothing."""
        self.now = max(self.now, now)
        id = self.card_id(beat.ref)
        card = self.cards.get(id)
        match beat.kind.partition(".")[2]:
            case "upsert":
                return self._write(id, card, beat.data, now)
            case "verify" if card and not card["archived"]:
                self._verify(card, str(beat.data.get("by", "maya")), now)
                return self._push(["card-verified"], id, now)
            case "unverify" if card and not card["archived"]:
                card |= {"trusted": False, "modified": now, "modified_by": beat.data.get("by", "maya")}
                return ()
            case "delete" if card and not card["archived"]:
                card |= {"archived": True, "modified": now}
                return self._push(["card-deleted"], id, now)
            case "restore" if card and card["archived"]:
                card["archived"] = False
                return self._push(["card-restored"], id, now)
            case "purge" if card:
                del self.cards[id]
                return self._push(["card-deleted"], id, now)
            case "collect" if card:  # its collection is deleted, and all cards with it: one event for all of them
                gone = [each for each, other in self.cards.items() if other["collection"] == card["collection"]]
                for each in gone:
                    del self.cards[each]
                return self._push(["collection-deleted"], None, now)
            case "hide" | "show" if card:  # the token's user loses the group that may read it: no event
                card["hidden"] = beat.kind.endswith("hide")
                return ()
            case "file" if card:  # into a folder, which moves no clock of the card
                card["folders"] = [*card["folders"], str(beat.data["folder"])]
                return self._push(["card-added-to-board"], id, now)
            case "retag":  # of all cards at once, which moves no clock of theirs and names none of them
                into = self.words[str(beat.data["tag"])] = str(beat.data.get("into", ""))
                return self._push(["tag-merged" if into else "tag-deleted"], None, now)
            case "share" if card:
                card["share"] = str(beat.data["status"])
                return self._push(["card-shared-to-team" if card["share"] == "TEAM" else "card-unshared"], id, now)
            case _:
                return ()

    def _write(self, id: str, card: Object | None, data: Mapping[str, Any], now: int) -> Sequence[Push]:
        kinds = ["card-updated"]
        if card is None:
            kinds = ["card-created"]
            card = {"id": id, "created": now, "version": 0, "archived": False, "trusted": False, "verified": None,
                    "title": "", "text": "", "html": None, "collection": "Support", "owner": "maya", "days": 90,
                    "hidden": False, "folders": [], "share": "TEAM"}  # fmt: skip
            self.cards[id] = card
        card |= {name: data[name] for name in ("title", "text", "html", "collection", "owner") if name in data}
        card |= {"modified": now, "modified_by": card["owner"], "version": card["version"] + 1}
        card["days"] = int(data.get("verify_days", card["days"]))
        if data.get("verified"):
            self._verify(card, card["owner"], now)
            kinds.append("card-verified")
        return self._push(kinds, id, now)

    def _verify(self, card: Object, by: str, now: int) -> None:
        card |= {"trusted": True, "verified": now, "verified_by": by}

    def _push(self, kinds: Sequence[str], id: str | None, now: int) -> Sequence[Push]:
        """One delivery: in BATCH mode with all events, each as a text in Ably's envelope."""
        card = self.cards.get(id or "")
        collection = uuid(self.seed, f"collection:{card['collection'] if card else ''}")
        named = {"collectionId": collection, "source": "UI"} | ({"cardId": id} if id else {})
        events = []
        for kind in kinds:
            self._told += 1
            events.append({
                "id": uuid(self.seed, f"event:{self._told}"), "eventType": kind, "user": STAFF["maya"].email,
                "eventDate": _date(now), "properties": named,
            })  # fmt: skip
        if self.delivery_mode == "SINGLE":
            return [Push(id or "", event, str(event["eventType"])) for event in events]
        return [Push(id or "", self._batch(events, now), kinds[0])]

    def _batch(self, events: Sequence[Object], now: int) -> Object:
        serial = f"{now}-000@{self._told}:0"
        messages = [
            {"id": f"{event['id']}:{index}", "timestamp": now, "data": json.dumps(event), "action": 0, "serial": serial}
            for index, event in enumerate(events)
        ]
        data = {"channelId": f"wh:{uuid(self.seed, 'webhook')}", "site": "mock", "messages": messages}
        return {"items": [{"webhookId": "mock", "source": "channel.message", "serial": serial, "timestamp": now,
                           "name": "channel.message", "data": data}]}  # fmt: skip

    def trusted(self, card: Object) -> bool:
        return bool(card["trusted"] and self.now < card["verified"] + card["days"] * DAY)

    def shown(self, card: Object) -> Object:
        """A card as the API shows it, with its state of this moment."""
        verified, owner = card["verified"], _user(card["owner"])
        ends = verified + card["days"] * DAY if verified else None
        return {
            "id": card["id"], "slug": f"{card['id'][:8]}/{_slug(card['title'])}", "cardType": "CARD",
            "preferredPhrase": card["title"],
            "content": card["html"] or f'<p class="ghq-card-content__paragraph">{_escaped(card["text"])}</p>',
            "collection": {"id": uuid(self.seed, f"collection:{card['collection']}"), "name": card["collection"],
                           "color": "#009688", "collectionType": "INTERNAL", "publicCardsEnabled": False},
            "boards": [self._folder(title) for title in card["folders"]], "folderCount": len(card["folders"]),
            "tags": self._tags(card),
            "dateCreated": _date(card["created"]), "lastModified": _date(card["modified"]),
            "lastModifiedBy": _user(card["modified_by"]), "owner": owner, "originalOwner": owner,
            "lastVerified": _date(verified), "lastVerifiedBy": _user(card["verified_by"]) if verified else None,
            "nextVerificationDate": _date(ends), "verificationInterval": card["days"],
            "verificationState": "TRUSTED" if self.trusted(card) else "NEEDS_VERIFICATION",
            "verificationType": "EXPIRING", "verificationReason": None,
            "verifiers": [{"type": "user", "id": owner["id"], "user": owner}],
            "shareStatus": card["share"], "version": card["version"], "archived": card["archived"], "favorited": False,
            "followed": False, "commentsEnabled": True, "teamId": uuid(self.seed, "team"),
            "cardInfo": {"analytics": {"views": 0, "copies": 0, "favorites": 0, "boards": 0, "followers": 0,
                                       "unverifiedViews": 0, "unverifiedCopies": 0}},
        }  # fmt: skip

    def _tags(self, card: Object) -> list[Object]:
        """Cards that answer one of the story's topics are tagged with its first word."""
        return [
            {"id": uuid(self.seed, f"tag:{word}"), "value": word, "categoryName": "Tags",
             "categoryId": uuid(self.seed, "tags")}
            for subject, _, _, title, _ in TOPICS if title == card["title"]
            for first in [subject.split()[0].lower()]
            for word in [self.words.get(first, first)] if word
        ]  # fmt: skip

    def _folder(self, title: str) -> Object:
        id = uuid(self.seed, f"folder:{title}")
        return {"id": id, "slug": f"{id[:8]}/{_slug(title)}", "title": title, "items": [], "numberOfFacts": 1}


def _escaped(text: str) -> str:
    return html.escape(text, quote=False)


def _user(slug: str) -> Object:
    who = STAFF[slug]
    return {"id": who.email, "email": who.email, "firstName": who.given, "lastName": who.family, "status": "ACTIVE",
            "profilePicUrl": None}  # fmt: skip


def _slug(title: str) -> str:
    return "-".join("".join(letter if letter.isalnum() else " " for letter in title).split())


def _date(ms: int | None) -> str | None:
    """Guru's own form: milliseconds, and an offset without colon."""
    if ms is None:
        return None
    moment = datetime.fromtimestamp(ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}+0000"
