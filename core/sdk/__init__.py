"""The one door for connectors: everything that one may import from the engine stands here.

A connector is a value made of functions. It does no retry, no batching and no state: the engine owns them.
"""

from core.errors import (
    AccountError,
    NormalizeError,
    PermanentError,
    RefusedError,
    SettingsError,
    SignatureError,
    TransientError,
    UnauthorizedError,
)
from core.sdk.bodies import loads
from core.sdk.connector import (
    Connector,
    ConnectorConfig,
    Delivery,
    Hint,
    Http,
    Ids,
    Listing,
    OAuth,
    Page,
    Payload,
    Quota,
    RateHeaders,
    Response,
    Split,
    Stream,
    Webhook,
)
from core.sdk.events import Maker, classify
from core.sdk.text import dialable, plain, unmarked
from core.sdk.times import Duration, Pause, from_iso, from_ms, from_seconds, to_ms

__all__ = [
    "AccountError", "Connector", "ConnectorConfig", "Delivery", "Duration", "Hint", "Http", "Ids", "Listing",
    "Maker", "NormalizeError", "OAuth", "Page", "Payload", "PermanentError", "Pause", "Quota",
    "RateHeaders", "RefusedError", "Response", "SettingsError", "SignatureError", "Split", "Stream", "TransientError",
    "UnauthorizedError", "Webhook", "classify", "dialable", "from_iso", "from_ms", "from_seconds", "loads",
    "plain",    "to_ms", "unmarked",
]  # fmt: skip
