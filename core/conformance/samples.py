"""Samples: payloads beside the events that they must give."""

import json
from pathlib import Path
from typing import Any

import orjson

from core.sdk import Connector, Payload


def record(connector: Connector[Any], payload: Path) -> Path:
    """Write what `X.payload.json` gives now to `X.events.json` beside it: read it before it is committed."""
    given = Payload(**json.loads(payload.read_text(encoding="utf-8")))
    events = [event.model_dump(mode="json") for event in connector.normalize(given)]
    path = payload.with_name(payload.name.replace(".payload.json", ".events.json"))
    path.write_bytes(orjson.dumps(events, option=orjson.OPT_INDENT_2) + b"\n")
    return path
