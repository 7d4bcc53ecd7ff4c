"""Our requests and the mock's answers beside Intercom's own description of its API, where that is at hand.

Tolerant where the description is known to drift from the service: nulls, numbers for ids, fields that it leaves out.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from connectors.intercom import CONNECTOR
from core.sdk import Hint
from tests.connectors.http import Note, Noted
from tests.connectors.intercom_source import BEGIN, CONFIG, STREAMS, source

ROOT = Path(__file__).parents[2]
FILE = (
    Path(os.environ.get("HUB_VENDOR_DATA") or ROOT / "../shared/vendor-data")
    / "helpdesk/intercom/api.intercom.io-2.16.yaml"
)
pytestmark = pytest.mark.skipif(
    not FILE.exists(), reason="no vendor descriptions: set HUB_VENDOR_DATA to the folder that holds helpdesk/intercom"
)
PAGING = {"per_page", "starting_after", "page", "order"}  # described in words for some lists, not as parameters
TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "array": (list,),
    "object": (dict,),
}  # fmt: skip
Spec = dict[str, Any]


@pytest.fixture(scope="module")
def spec() -> Spec:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return dict(yaml.load(FILE.read_text(), loader))


@pytest.fixture
async def notes() -> list[Note]:
    """Everything that our connector asks in the course of the story, and what the mock answers."""
    async with source() as intercom:
        intercom.mock.send(intercom.mock.player.step(300))
        world = intercom.world.world
        for ref, role in (("one", "lead"), ("two", "user")):
            intercom.happens("person.upsert", ref, given=ref, role=role)
        intercom.happens("person.merge", "one", into="two")
        intercom.happens("conversation.delete", "v:dana.1")
        for index in range(12):
            intercom.happens("person.tag", "dana", tag=f"tag {index}")
        intercom.happens("person.tag", "ines", tag="vip")
        intercom.happens("person.note", "dana", by="maya", text="Prefers calls.")
        intercom.happens("person.choose", "dana", subscription="Newsletter", chosen=False)
        intercom.happens("ticket.open", "t", person="dana", subject="Broken", text="It broke.")
        intercom.happens("ticket.reply", "t", by="maya", text="Sorry.")
        intercom.happens("phone.ring", "c", phone="+12025550143", person="dana")
        intercom.happens("phone.end", "c", by="maya", seconds=9)
        http = Noted(intercom.http)
        account = await CONNECTOR.account(http, CONFIG)
        for stream in CONNECTOR.streams:
            pages = [page async for page in stream.poll(http, CONFIG, account, None)]
            async for _ in stream.poll(http, CONFIG, account, pages[-1].cursor):
                pass
        for listing in CONNECTOR.listings:
            async for _ in listing.ids(http, CONFIG, account, None):
                pass
        lives = {kind: next(iter(objects)) for kind, objects in intercom.world.truth().items()}
        hints = [
            *(Hint(kind, id, BEGIN, "missing") for kind, id in lives.items()),
            Hint("contact", world.contact_id("one"), BEGIN), Hint("contact", world.contact_id("two"), BEGIN),
            Hint("contact", world.contact_id("two"), BEGIN, "merged"), Hint("ticket", "1", BEGIN),
            Hint("conversation", world.conversation_id("v:dana.2"), BEGIN),
        ]  # fmt: skip
        assert CONNECTOR.hydrate is not None
        async for _ in CONNECTOR.hydrate(http, CONFIG, account, hints):
            pass
        assert len(http.notes) > len(STREAMS) + len(hints)
        return http.notes


def operation(spec: Spec, method: str, path: str) -> Spec | None:
    for template in sorted(spec["paths"], key=lambda text: text.count("{")):
        pattern = re.sub(r"\\\{[^}]*\\\}|\{[^}]*\}", "[^/]+", template)
        if re.fullmatch(pattern, path) and method.lower() in spec["paths"][template]:
            return dict(spec["paths"][template][method.lower()])
    return None


def mistakes(spec: Spec, schema: Spec, value: Any, where: str, *, strict: bool = False) -> Iterator[str]:
    """Where a value is of another type than described. `strict` (our own requests): required and known fields, too."""
    if value is None:
        return
    if "$ref" in schema:
        schema = spec["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    for part in schema.get("allOf", ()):
        yield from mistakes(spec, part, value, where, strict=strict)
    choices = schema.get("oneOf") or schema.get("anyOf")
    if choices:
        found = [list(mistakes(spec, choice, value, where, strict=strict)) for choice in choices]
        yield from min(found, key=len)
    kind = schema.get("type")
    if kind and not described(kind, value, where):
        yield f"{where}: {value!r} is not {kind}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where}: {value!r} is none of {schema['enum']}"
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        for name, inner in properties.items():
            yield from mistakes(spec, inner, value.get(name), f"{where}.{name}", strict=strict)
        if strict and properties:
            missing = set(schema.get("required", ())) - set(value)
            unknown = set(value) - set(properties)
            yield from (f"{where}.{name}: required or not described" for name in sorted(missing | unknown))
    if isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from mistakes(spec, schema["items"], item, f"{where}[{index}]", strict=strict)


def described(kind: str, value: Any, where: str) -> bool:
    if isinstance(value, bool) and kind != "boolean":
        return False
    if where.endswith((".id", "_id")):  # ids are numbers here and texts there
        return isinstance(value, str | int)
    return isinstance(value, TYPES[kind])


def test_every_request_is_one_that_the_description_knows(spec: Spec, notes: Any) -> None:
    for method, path, params, body, *_ in notes:
        known = operation(spec, method, path)
        assert known is not None, f"{method} {path}"
        names = {each.get("name") for each in known.get("parameters", ())}
        assert set(params) <= names | PAGING, f"{method} {path}: {sorted(set(params) - names)}"
        if body is not None:
            schema = known["requestBody"]["content"]["application/json"]["schema"]
            # Conversations and tickets take `sort`, too, though only contacts' search describes it.
            plain = body if path.startswith("/contacts") else {name: body[name] for name in body if name != "sort"}
            assert not list(mistakes(spec, schema, plain, path, strict=True))


def test_every_answer_of_the_mock_is_of_the_described_shape(spec: Spec, notes: Any) -> None:
    checked = set()
    for method, path, _, _, status, answer in notes:
        known = operation(spec, method, path)
        assert known is not None
        if answer is None:
            assert str(status) in {*known["responses"], "404"}, f"{method} {path}: {status}"
            continue
        content = known["responses"][str(status)]["content"]["application/json"]
        found = list(mistakes(spec, content["schema"], answer, path))
        assert not found, found[:5]
        checked.add((method, re.sub(r"[0-9a-f]{10,}", "{id}", path)))
    assert len(checked) >= 28


def test_the_description_still_knows_the_pinned_version(spec: Spec) -> None:
    versions = spec["components"]["schemas"]["intercom_version"]["enum"]
    assert CONNECTOR.auth(CONFIG)["Intercom-Version"] in map(str, versions)
