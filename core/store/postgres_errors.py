"""PostgreSQL's exceptions as ours."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from core.errors import PermanentError, TransientError


@contextmanager
def ours() -> Iterator[None]:
    """PRIVACY: only the primary message; details quote values."""
    try:
        yield
    except (psycopg.OperationalError, psycopg.InternalError, psycopg.InterfaceError) as error:
        raise TransientError(f"PostgreSQL: {_message(error)}") from error
    except psycopg.Error as error:
        raise PermanentError(f"PostgreSQL: {_message(error)}") from error


def _message(error: psycopg.Error) -> str:
    return error.diag.message_primary or f"{type(error).__name__}: {error}"
