"""A log line may say that something happened, never to whom, and never a secret."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from core import log
from schemas.entities import Identifier


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root, handlers, level = logging.getLogger(), logging.getLogger().handlers[:], logging.getLogger().level
    yield
    structlog.reset_defaults()
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


def line(**fields: Any) -> dict[str, Any]:
    """What a log line with these fields looks like in JSON."""
    out = io.StringIO()
    log.setup(pretty=False, level="DEBUG", stream=out)
    structlog.get_logger().info("something happened", **fields)
    parsed: dict[str, Any] = json.loads(out.getvalue())
    return parsed


def test_json_lines_carry_level_and_utc_time() -> None:
    found = line(connection="hubspot", count=3)
    assert found["event"] == "something happened"
    assert (found["level"], found["connection"], found["count"]) == ("info", "hubspot", 3)
    assert found["timestamp"].endswith("Z")


@pytest.mark.parametrize("key", ["email", "phone", "display_name", "name", "body", "transcript", "value", "attributes"])
def test_what_the_schema_calls_personal_is_blotted_out_by_its_name(key: str) -> None:
    assert line(**{key: "Dana Reyes"})[key] == log.BLOT
    assert line(data={"deep": [{key: "Dana Reyes"}]})["data"] == {"deep": [{key: log.BLOT}]}


def test_what_the_schema_calls_harmless_stays() -> None:
    harmless = {"status": "open", "channel": "chat", "key": "hubspot/12345/contact/901"}
    assert line(**harmless).items() >= harmless.items()


@pytest.mark.parametrize("key", ["token", "client_secret", "Authorization", "password", "api_key", "set-cookie"])
def test_secrets_are_blotted_out_by_their_name(key: str) -> None:
    assert "hunter2" not in json.dumps(line(**{key: "hunter2", "settings": {key: "hunter2"}}))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("no contact dana.reyes+x@example.com here", "no contact [redacted] here"),
        ("GET /contacts?email=dana%40example.com failed", "GET /contacts?email=[redacted] failed"),
        ("cannot call +1 202 555 0143 now", "cannot call [redacted] now"),
        ("cannot call (202) 555-0143 now", "cannot call [redacted] now"),
        ("cannot call 2025550143.", "cannot call [redacted]."),
        ("cannot call 555-0143 now", "cannot call [redacted] now"),
        ("offset 123456789 is out of range", "offset 123456789 is out of range"),
        ("at 2026-11-22T10:00:00 from 192.168.100.200", "at 2026-11-22T10:00:00 from 192.168.100.200"),
        ("hubspot/12345678/contact/90112345", "hubspot/12345678/contact/90112345"),
        ("401 for Bearer pat-na1-0000-1111", "401 for Bearer [redacted]"),
        ("GET /x?limit=3&access_token=abcdef&a=1", "GET /x?limit=3&access_token=[redacted]&a=1"),
        ("cannot reach postgresql://hub:pw@db/hub", "cannot reach postgresql://[redacted]@db/hub"),
    ],
)
def test_addresses_numbers_and_credentials_leave_the_text_of_reasons(text: str, told: str) -> None:
    assert line(reason=text)["reason"] == told
    assert line(error=ValueError(text))["error"] == f"ValueError: {told}"


def test_a_validation_error_does_not_quote_its_input() -> None:
    try:
        Identifier.model_validate({"kind": "Dana Reyes", "value": "x"})
    except ValueError as error:
        assert "Dana Reyes" in str(error)
        assert "Dana Reyes" not in json.dumps(line(reason=str(error), error=error))


def test_a_traceback_is_kept_without_the_person() -> None:
    out = io.StringIO()
    log.setup(pretty=False, stream=out)
    try:
        raise ValueError("dana@example.com is unknown")
    except ValueError:
        structlog.get_logger().exception("failed")
    found = json.loads(out.getvalue())
    assert "ValueError: [redacted] is unknown" in found["exception"]


def test_other_libraries_speak_through_the_same_door_from_warning_on() -> None:
    out = io.StringIO()
    log.setup(pretty=False, level="DEBUG", stream=out)
    logging.getLogger("aiokafka.cluster").info("topic metadata")
    logging.getLogger("aiohttp.server").warning("bad request from %s", "dana@example.com")
    lines = [json.loads(text) for text in out.getvalue().splitlines()]
    assert [(line["logger"], line["event"]) for line in lines] == [("aiohttp.server", "bad request from [redacted]")]


def test_a_terminal_gets_readable_lines_and_the_level_counts() -> None:
    out = io.StringIO()
    log.setup(pretty=True, level="WARNING", stream=out)
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("source unavailable", connection="hubspot", email="dana@example.com")
    assert "quiet" not in out.getvalue() and "dana" not in out.getvalue()
    assert "source unavailable" in out.getvalue() and not out.getvalue().startswith("{")
    plain = io.StringIO()
    log.setup(stream=plain)
    structlog.get_logger().info("not a terminal")
    assert json.loads(plain.getvalue())["event"] == "not a terminal"


def test_a_terminal_leaves_out_what_is_told_there_elsewhere_and_a_log_keeps_it() -> None:
    for pretty in (True, False):
        out = io.StringIO()
        log.setup(pretty=pretty, stream=out, told_elsewhere={"delivery refused"})
        structlog.get_logger().warning("delivery refused", connection="aircall")
        structlog.get_logger().info("source is back", connection="aircall")
        assert ("delivery refused" in out.getvalue()) is not pretty
        assert "source is back" in out.getvalue()
