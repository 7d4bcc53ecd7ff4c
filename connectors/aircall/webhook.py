"""Aircall's deliveries: `{resource, event, timestamp, token, data}`, without a signature. Pure.

The token in the JSON body is the whole proof, so a body that is not JSON proves nothing. There is no protection against
replays, and none is possible: retries come up to twelve hours late with their old timestamp.
Message callbacks of numbers in proxy mode say `event_name` instead of `event`, and their timestamp is in milliseconds.
"""

from collections.abc import Mapping
from datetime import datetime
from hmac import compare_digest
from typing import Any

from connectors.aircall.config import Config
from connectors.aircall.shapes import unversioned
from connectors.aircall.voice import FAMILY, NAMES, TOLD
from core.sdk import Delivery, Hint, NormalizeError, Payload, SignatureError, Split, loads

INSTRUCTIONS = """\
Make a webhook with this URL and read its token, which the dashboard does not show:
  curl -u API_ID:API_TOKEN -H 'Content-Type: application/json' https://api.aircall.io/v1/webhooks \\
    -d '{"custom_name": "supporthub", "url": "<the URL above>"}'
The answer's `token` is the setting `webhook_token`. Without `events` in the request it sends all of them."""

RESOURCES = frozenset({"call", "contact", "user", "message"})
# PRIVACY: what a call was about is not kept of a delivery; it is fetched where the settings allow it.
INSIGHTS = frozenset(
    {"transcription", "summary", "topics", "sentiment", "action_item", "playbook_result", "realtime_transcription",
     "custom_summary", "call_evaluation"}
)  # fmt: skip
# PRIVACY: these links open a recording or a picture without a login. They expire; what counts is that there is one.
LINKS = ("recording", "voicemail", "recording_short_url", "voicemail_short_url", "presigned_url")
_MEDIA = "media_details"  # of a message: a list of what it brought along
_NAMES = ("id", "call_id", "call_uuid", "number_id", "type", "created_at", "call_created_at")
LINK_CUT = "(link removed)"


def verify(delivery: Delivery, config: Config, now: datetime) -> None:
    """Raises SignatureError unless the body is JSON with the webhook's token in it."""
    try:
        body = loads(delivery.body)
    except ValueError:
        raise SignatureError("the body is not JSON, and so without token", code="not JSON") from None
    token = body.get("token") if isinstance(body, dict) else None
    if not isinstance(token, str) or not token:
        if isinstance(body, dict) and "event_name" in body and "event" not in body:
            raise SignatureError(
                "a message callback without token: messages of numbers in proxy mode are not taken without proof",
                code="callback without token",
            )
        raise SignatureError("no token in the body", code="missing token")
    expected = config.webhook_token.get_secret_value() if config.webhook_token else ""
    if not expected or not compare_digest(token.encode(), expected.encode()):
        raise SignatureError("wrong token: it is not the connection's webhook_token", code="wrong token")


def cut(body: Any) -> Any:
    """The body without its token and without links that would open a recording."""
    if not isinstance(body, dict):
        return body
    kept = {name: value for name, value in body.items() if name != "token"}
    if isinstance(kept.get("data"), dict):
        kept["data"] = without_links(kept["data"])
        family = str(_named(body)[0]).partition(".")[0]
        if family in INSIGHTS:
            kept["data"] = {name: kept["data"][name] for name in _NAMES if name in kept["data"]}
        elif family == FAMILY:
            kept["data"] = {name: kept["data"][name] for name in NAMES if name in kept["data"]}
    return kept


def _named(body: Mapping[str, Any]) -> tuple[Any, int]:
    """The event's name, and how many milliseconds one of its timestamp's units has: the key tells which of both it
    is."""
    return (body["event"], 1000) if "event" in body else (body.get("event_name"), 1)


def without_links(data: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: LINK_CUT if name in LINKS and value else value for name, value in data.items()}
    if isinstance(media := kept.get(_MEDIA), list):
        kept[_MEDIA] = [without_links(each) if isinstance(each, Mapping) else each for each in media]
    return kept


def split(body: Any, delivery: Delivery, config: Config, account: str, received: int) -> Split:
    """One payload per delivery, its kind the event's name; events that we do not use are ignored, not mistakes."""
    event, unit = _named(body) if isinstance(body, dict) else (None, 1)
    if not isinstance(event, str):
        raise NormalizeError("not an Aircall delivery: no event")
    data, timestamp = body.get("data"), body.get("timestamp")
    # Aircall says: route on `event`, not on `resource`.
    family = event.partition(".")[0]
    if family not in RESOURCES and family not in config.insights and unversioned(event) not in TOLD:
        return Split(ignored=(event,))
    if not isinstance(data, dict):
        raise NormalizeError(f"{event}: no data")
    at = int(timestamp * unit) if isinstance(timestamp, int | float) and not isinstance(timestamp, bool) else None
    if family in config.insights:
        if not data.get("call_id"):
            raise NormalizeError(f"{event}: names no call")
        hint = Hint("call", str(data["call_id"]), received if at is None else at, family)
        return Split(hints=(hint,), seen=[(event, body)])
    return Split(payloads=(Payload(kind=event, data=data, account=account, pushed=True, received=received, at=at),))
