"""`hub new`: a new connector is a copy of one that works."""

from pathlib import Path
from typing import Annotated, Any

import typer

from core.cli.options import CONFIG, YAML

_TEMPLATE = "_template"
_TEXTS = (".py", ".md", ".json")
_TO = "my_connectors"  # where nothing says another folder


def new(
    name: Annotated[str, typer.Argument(help="The source's name in lower-case letters, digits and _: freshdesk.")],
    to: Annotated[
        Path | None, typer.Option("--to", help="The folder for it; left out: the one that hub.yaml names first.")
    ] = None,
    config: CONFIG = YAML,
) -> None:
    """Begin a connector: a small one that works, with mock, samples and manual, under the name of your source.

    It keeps every check from its first minute; change it piece by piece and keep it so.
    """
    from core import registry
    from core.cli.terminal import finish, say, short, warn
    from core.config import folders_of

    named = folders_of(config)
    _check(name, registry.names(named))
    parent = to or (named[0] if named else _checkout() or config.parent / _TO)
    target = parent / name
    _copied(registry.folder(_TEMPLATE), target, name)
    files = len(list(target.glob("*.*")))
    say(f"{short(target)}: {files} files, {finish(_examined(name, target, parent))}", "bold")
    say(f"next: put real payloads into {short(target / 'samples')}, edit normalize.py, and look:")
    say(f"  hub try {name} {short(target / 'samples' / 'ticket.read.payload.json')} --watch")
    if parent.resolve() not in [each.resolve() for each in (*named, *filter(None, [_checkout()]))]:
        warn(f"{config} does not name this folder yet: add `connectors: [./{parent}]` to it")


def _check(name: str, known: tuple[str, ...]) -> None:
    import keyword
    import re

    from core.errors import ConfigError

    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name) or keyword.iskeyword(name):
        raise ConfigError(f"{name!r} cannot be a connector's name: lower-case letters, digits and _, a letter first")
    if name in known:
        raise ConfigError(f"there is a connector {name!r} already")


def _checkout() -> Path | None:
    """The package's own folder, where one stands in a checkout of the hub."""
    import connectors

    folder = Path(connectors.__path__[0])
    return folder if folder.parent.samefile(Path.cwd()) else None


def _copied(template: Path, target: Path, name: str) -> None:
    import shutil

    from core.errors import ConfigError

    if target.exists():
        raise ConfigError(f"{target} exists already; remove it or choose another name")
    shutil.copytree(template, target, ignore=shutil.ignore_patterns("__pycache__"))
    title = name.replace("_", " ").title()
    words = {
        'title="Template"': f'title="{title}"', "X-Template": f"X-{title.replace(' ', '-')}",
        "x-template": f"x-{name.replace('_', '-')}", "template.example": f"{name.replace('_', '-')}.example",
        "_template": name, "template": name, "class Template": f"class {title.replace(' ', '')}",
        "Template]": f"{title.replace(' ', '')}]", "= Template": f"= {title.replace(' ', '')}", "Template": title,
    }  # fmt: skip
    for path in (path for path in target.rglob("*") if path.suffix in _TEXTS):
        text = path.read_text(encoding="utf-8")
        for word, replacement in words.items():
            text = text.replace(word, replacement)
        path.write_text(text, encoding="utf-8")


async def _examined(name: str, target: Path, parent: Path) -> str:
    """Samples and manual name the source, so that they are made anew; then every check."""
    from core import conformance, registry
    from core.cli.terminal import number
    from core.conformance.manual import filled
    from core.conformance.samples import record

    connector: Any = registry.load(name, [parent])
    payloads = sorted((target / "samples").glob("*.payload.json"))
    for payload in payloads:
        record(connector, payload)
    readme = target / "README.md"
    readme.write_text(filled(readme.read_text(encoding="utf-8"), connector), encoding="utf-8")
    report = await conformance.examine(name, [parent])
    passed = sum(each.outcome == "passed" for each in report.results)
    checks = number(len(report.results), "check")
    return f"{number(len(payloads), 'sample')}, passes {passed} of {checks} ({report.stability})"
