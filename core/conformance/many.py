"""Many connectors examined at once, in processes of their own: one examination keeps one processor busy."""

import asyncio
import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core import conformance, registry
from core.conformance.report import Report


@contextmanager
def examining(
    names: Sequence[str], folders: Sequence[Path] = (), **options: Any
) -> Iterator[Mapping[str, Future[Report]]]:
    """`conformance.examine` for each of the names, as many at a time as there are processors: what will come of it, by
    name. What has not begun when the block is left is not begun."""
    # Not forked: who examines may have threads and an event loop.
    with ProcessPoolExecutor(min(len(names), os.cpu_count() or 1) or 1, multiprocessing.get_context("spawn")) as pool:
        known = registry.places(folders)
        try:
            yield {name: pool.submit(_examined, name, known, options) for name in names}
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _examined(name: str, folders: Sequence[Path], options: Mapping[str, Any]) -> Report:
    return asyncio.run(conformance.examine(name, folders, **options))
