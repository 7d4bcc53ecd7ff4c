"""JMESPath (https://jmespath.org) that is checked when it is read: its grammar, its functions and their arguments."""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

import jmespath
from jmespath.exceptions import IncompleteExpressionError, JMESPathError, JMESPathTypeError, LexerError, ParseError
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from connectors.http.functions import Functions, Scope, regex
from core.sdk import NormalizeError

_NOWHERE = Scope()
_CALL = "function_expression"


class Expression:
    """Raises ValueError on being made where it cannot work; the message names the character, counted from 1."""

    __slots__ = ("_parsed", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self._parsed = jmespath.compile(text)
        except JMESPathError as error:
            raise ValueError(_told(text, error)) from None
        _check(self._parsed.parsed)

    def __call__(self, data: Any, scope: Scope = _NOWHERE) -> Any:
        """What it finds. Raises NormalizeError where a function cannot use what it is given."""
        try:
            return self._parsed.search(data, options=jmespath.Options(custom_functions=Functions(scope)))
        except JMESPathTypeError as error:
            # PRIVACY: the library's own message quotes the value.
            what = f"{error.function_name}() cannot use {error.actual_type}"
            raise NormalizeError(f"{what} in {self.text}") from None
        except (JMESPathError, TypeError, ValueError) as error:
            raise NormalizeError(f"{type(error).__name__} in {self.text}") from error

    def __str__(self) -> str:
        return self.text

    @property
    def functions(self) -> frozenset[str]:
        """The names of all functions that it calls."""
        return frozenset(node["value"] for node in _nodes(self._parsed.parsed) if node["type"] == _CALL)

    @property
    def is_path(self) -> bool:
        """Whether what it finds stands in the data as it is: it calls no function and makes no object."""
        return not any(node["type"] in (_CALL, "multi_select_dict") for node in _nodes(self._parsed.parsed))

    def constants(self, function: str) -> list[str]:
        """The first arguments of all calls of a function that are written out: the names of tables, for instance."""
        calls = [each for each in _nodes(self._parsed.parsed) if each["type"] == _CALL and each["value"] == function]
        first = [call["children"][0] for call in calls if call["children"]]
        return [each["value"] for each in first if each["type"] == "literal" and isinstance(each["value"], str)]

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        written = core_schema.plain_serializer_function_ser_schema(lambda made: made.text)
        text = core_schema.str_schema(min_length=1)
        made = core_schema.no_info_after_validator_function(cls, text)
        return core_schema.no_info_before_validator_function(
            lambda given: given.text if isinstance(given, cls) else given, made, serialization=written
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "minLength": 1}


def _told(text: str, error: JMESPathError) -> str:
    match error:
        case IncompleteExpressionError():
            return f"JMESPath ends too early, at character {len(text) + 1}: {text}"
        case LexerError():
            return f"JMESPath cannot read character {error.lexer_position + 1}, {error.lexer_value!r}: {text}"
        case ParseError():
            return f"JMESPath does not expect {error.token_value!r} at character {error.lex_position + 1}: {text}"
    return f"not JMESPath: {text}"


def _check(tree: Any) -> None:
    """Unknown functions and wrong numbers of arguments show here instead of in the first payload that meets them."""
    for node in _nodes(tree):
        if node["type"] != _CALL:
            continue
        name, given = node["value"], len(node["children"])
        spec = Functions.FUNCTION_TABLE.get(name)
        if spec is None:
            close = get_close_matches(name, Functions.FUNCTION_TABLE, n=1)
            there = ", ".join(sorted(Functions.FUNCTION_TABLE))
            raise ValueError(
                f"no function {name}(); {f'did you mean {close[0]}()?' if close else f'there are: {there}'}"
            )
        wanted = len(spec["signature"])
        variadic = bool(spec["signature"] and spec["signature"][-1].get("variadic"))
        if given < wanted if variadic else given != wanted:
            raise ValueError(f"{name}() takes {wanted} arguments{' at least' if variadic else ''}, not {given}")
        if name == "matches":
            _check_search(node["children"][1])


def _check_search(pattern: Any) -> None:
    if pattern["type"] == "literal" and isinstance(pattern["value"], str):
        try:
            regex(pattern["value"])
        except ValueError as error:
            raise ValueError(f"matches(): {error}") from None


def _nodes(node: Any) -> Iterator[Any]:
    yield node
    for child in node["children"]:
        if isinstance(child, dict):
            yield from _nodes(child)
