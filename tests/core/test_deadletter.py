"""Dead letters say why without saying who, and hold what a replay needs."""

import base64

import orjson
import pytest
from pydantic import BaseModel

from core.bus import Record
from core.deadletter import Letter, decode, encode, of_bytes, of_record, reason_of, to_bytes, to_message, withheld
from core.errors import NormalizeError


def letter(**content: object) -> Letter:
    return Letter("help", "normalize", "the payload has no id", {"form": "payload", "kind": "ticket", **content}, 1_000)


def record_of(made: Letter) -> Record:
    message = encode(made)
    return Record(message.topic, 0, 0, 1, message.key, message.value, message.headers)


def test_a_letter_passes_the_bus_and_becomes_a_row() -> None:
    row = decode(record_of(letter(data={"a": 1})))
    assert (row.connection, row.stage, row.reason, row.at, row.state, row.times) == (
        "help", "normalize", "the payload has no id", 1_000, "open", 1
    )  # fmt: skip
    assert orjson.loads(row.payload) == {"form": "payload", "kind": "ticket", "data": {"a": 1}}


def test_a_redelivery_is_the_same_letter_and_another_input_is_not() -> None:
    first = encode(letter(data={"a": 1}, received=5, headers={"x": "1"}))
    again = encode(letter(data={"a": 1}, received=9, headers={"x": "2"})._replace(at=2_000, reason="another word"))
    other = encode(letter(data={"a": 2}, received=5, headers={"x": "1"}))
    assert first.key == again.key != other.key


def test_what_is_no_letter_is_refused() -> None:
    for value in (b"nonsense", b"[]", b'{"id": 1}', None):
        with pytest.raises(NormalizeError):
            decode(Record("dead", 0, 0, 1, "k", value, ()))


@pytest.mark.parametrize("body", [b"plain", "größe".encode(), b"\xff\xfe\x00"])
def test_bytes_are_kept_as_they_are(body: bytes) -> None:
    assert to_bytes(orjson.loads(orjson.dumps(of_bytes(body)))["body"]) == body


def test_a_letter_without_content_only_tells_inputs_apart() -> None:
    kept = withheld(b"canary")
    assert kept["size"] == 6 and "canary" not in str(kept)
    assert kept != withheld(b"canaries") and kept == withheld(b"canary")


@pytest.mark.parametrize("value", [b'{"a":1}', b"\xff", None])
def test_a_message_that_cannot_be_applied_can_be_published_again(value: bytes | None) -> None:
    headers = [("ce_connection", b"help"), ("ce_subject", b"x/y/ticket/1"), ("ce_id", b"77")]
    row = of_record(Record("events", 3, 8, 1, "77", value, headers), "cannot be folded", 5)
    assert (row.connection, row.stage) == ("help", "fold")
    message = to_message(orjson.loads(row.payload))
    assert (message.topic, message.key, message.partition_by) == ("events", "77", "x/y/ticket/1")
    assert message.value == (value or b"") and list(message.headers) == headers


PERSON = {"name": "Dana Reyes", "email": "dana@example.com", "note": {"deep": ["+12025550143", 4155550143]}, "id": "x"}


@pytest.mark.parametrize(
    "error",
    [
        NormalizeError("not a time: 'Dana Reyes'"),
        NormalizeError("not a time: 'Dana'"),
        NormalizeError("Dana Reyes has no id"),
        NormalizeError("nobody is called dana@example.com"),
        NormalizeError("number 4155550143 is odd, +12025550143, too"),
        KeyError("Dana Reyes"),
        ValueError("invalid literal for int() with base 10: 'Dana Reyes'"),
    ],
)
def test_a_reason_never_repeats_the_input(error: Exception) -> None:
    reason = reason_of(error, PERSON)
    assert not any(word in reason for word in ("Dana", "Reyes", "dana", "4155550143", "2025550143")), reason


def test_a_reason_still_says_what_is_wrong() -> None:
    assert reason_of(NormalizeError("contact: the payload has no id"), PERSON) == "contact: the payload has no id"
    try:
        PERSON["updated_at"]
    except KeyError as error:
        assert reason_of(error, PERSON).startswith("KeyError: 'updated_at' (core/test_deadletter.py:")


def test_what_does_not_fit_the_schema_is_named_by_field() -> None:
    class Shape(BaseModel):
        age: int

    with pytest.raises(ValueError) as caught:
        Shape.model_validate({"age": "Dana Reyes"})
    assert reason_of(caught.value, PERSON) == "does not fit the schema: age: int_parsing"


def test_base64_marks_what_is_not_text() -> None:
    assert of_bytes(b"\xff")["body"] == {"base64": base64.b64encode(b"\xff").decode()}
