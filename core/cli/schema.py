"""`hub schema`: the published contracts, and the files that hold them."""

from pathlib import Path
from typing import Annotated, Any

import typer

HUB = "hub"  # the schema of hub.yaml
DECLARATION = "declaration"  # of a file that declares a source


def schema(
    name: Annotated[
        str | None, typer.Argument(help="event, customer, change, push, an entity, or hub; none: their names.")
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Write the committed files again.")] = False,
) -> None:
    """Print a JSON Schema: of events, entities, customers, changes of the feed, pushed batches, or hub.yaml."""
    from core.cli.terminal import emit, say, short
    from core.errors import ConfigError
    from schemas.export import MODELS

    if write:
        for path, text in files().items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            say(short(path))
        return
    names = [HUB, DECLARATION, *MODELS]
    if name is None:
        for each in names:
            say(each)
        return
    if name not in names:
        raise ConfigError(f"there is no schema {name!r}; there are: {', '.join(names)}")
    emit(_document(name))


def files() -> dict[Path, str]:
    """What the committed files should hold."""
    import orjson

    import schemas
    from schemas.event import SCHEMA_VERSION
    from schemas.export import MODELS

    folder = Path(schemas.__file__ or "").parent
    whole = {name: folder / f"{name}.schema.json" for name in (HUB, DECLARATION)}
    paths = whole | {name: folder / SCHEMA_VERSION / f"{name}.json" for name in MODELS}
    return {
        path: orjson.dumps(_document(name), option=orjson.OPT_INDENT_2).decode() + "\n" for name, path in paths.items()
    }


def _document(name: str) -> dict[str, Any]:
    from core.config import schema as of_hub
    from schemas import export

    match name:
        case "hub":
            return of_hub.document()
        case "declaration":
            return of_hub.declaration()
    return export.document(name)
