"""The engine. Its rooms stand on floors: a room imports only those below it (see pyproject.toml, import-linter)."""
