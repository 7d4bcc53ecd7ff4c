"""What sources send that they should not, and what becomes of it. docs/bad-input.md shows this table."""

from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Case:
    """`sample`: the file beside this one that is sent, or what is made because it is too large to keep."""

    name: str
    sample: str
    outcome: str

    def body(self) -> bytes:
        return (HERE / self.sample).read_bytes()


AGAIN = "asked again; while it lasts the source is `down`, the cursor stays, nothing is skipped"

ANSWERS = (
    Case("HTML instead of JSON", "maintenance.html", AGAIN),
    Case("an empty body with status 200", "empty", AGAIN),
    Case("half a body", "half.json", AGAIN),
    Case("status 200 with an error inside", "error-inside.json", AGAIN),
    Case(
        "status 200 with a rate limit inside",
        "throttled-inside.json",
        "asked again later; while it lasts the source is `throttled`",
    ),
    Case(
        "status 200 with refused credentials inside",
        "refused-inside.json",
        "the source is `unauthorized`, with the remedy; it heals without restart",
    ),
    Case(
        "a redirect to another host",
        "(status 302)",
        "not followed, because credentials stay with their host; the source is `misconfigured`",
    ),
    Case("a page of 10 MB", "(made by the test)", "taken"),
    Case("an answer above 64 MB", "(made by the test)", "not read further; the source is `misconfigured`"),
    Case("a single object above 8 MB", "(made by the test)", "a dead letter with size and hash; the others are taken"),
    Case("invalid UTF-8", "latin.json", "taken, with U+FFFD for what is no text"),
    Case("a byte order mark", "marked.json", "taken"),
)
PUSHED = (
    Case("HTML instead of JSON, signed", "maintenance.html", "answered 202; a dead letter with its bytes"),
    Case("an empty body, signed", "empty", "answered 202; a dead letter with its bytes"),
    Case("half a body, signed", "half.json", "answered 202; a dead letter with its bytes"),
    Case("invalid UTF-8, signed", "pushed-latin.json", "answered 202; taken, with U+FFFD for what is no text"),
    Case("JSON of another shape, signed", "other-shape.json", "answered 202; a dead letter with its body"),
    Case(
        "a body above `max_body` (5 MB), also after decompression",
        "(made by the test)",
        "answered 413, nothing is kept; counted by its reason, `hub status` names `max_body`; the next sweep brings it",
    ),
)
FIELDS = (
    Case(
        "numbers as text",
        "(every sample of every connector)",
        "the same objects, people and times; custom fields stay text, a count may be left out",
    ),
    Case("times in every format of the sources", "times.json", "one format: RFC 3339, UTC, milliseconds"),
    Case(
        "times that are none",
        "no-times.json",
        "the payload is a dead letter that names the field's text; the others are taken",
    ),
    Case("`anonymous`, SIP addresses and others as phone numbers", "no-phones.json", "no identifier: they join nobody"),
    Case("HTML in bodies and cards", "html.json", "plain text without tags, scripts and styles; words and signs stay"),
)


def table() -> str:
    """docs/bad-input.md."""
    parts = [
        "# Bad input",
        "",
        "What a source may send that it should not, and what becomes of it. Each line is a test with this sample",
        "(`tests/bad_input`): nothing crashes a worker, and nothing is lost without a dead letter.",
    ]
    sections = (("Answers to polls and fetches", ANSWERS), ("Webhooks", PUSHED), ("Fields", FIELDS))
    for title, cases in sections:
        parts += ["", f"## {title}", "", "| what comes | sample | what becomes of it |", "| --- | --- | --- |"]
        parts += [f"| {case.name} | {case.sample} | {case.outcome} |" for case in cases]
    return "\n".join(parts) + "\n"
