"""Group commit: one thread writes the log; whatever waits when it is free shares its next transaction."""

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from core.bus.log import Log, sqlite_errors
from core.errors import HubError, TransientError

SHARED = 512  # at most so many callers share a commit

T = TypeVar("T")
Ranges = Mapping[tuple[str, int], tuple[int, int]]


@dataclass(frozen=True, slots=True)
class _Job:
    work: Callable[[Log], Any]
    done: asyncio.Future[Any]


class Committer:
    """`committed` is called on the event loop after each commit, with the ranges that are visible from then on, before
    the callers that wait for that commit go on."""

    def __init__(self, log: Log, committed: Callable[[Ranges], None]) -> None:
        self._log = log
        self._committed = committed
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="bus-log")
        self._thread.start()

    async def submit(self, work: Callable[[Log], T]) -> T:
        """What `work` returns, once it is on disk. A caller that is cancelled leaves it done or not, never half."""
        if self._closed:
            raise TransientError("the bus is closing")
        job = _Job(work, self._loop.create_future())
        self._queue.put(job)
        result: T = await job.done
        return result

    async def close(self) -> None:
        """Everything that was submitted is written first."""
        self._closed = True
        self._queue.put(None)
        await self._loop.run_in_executor(None, self._thread.join)

    def _run(self) -> None:
        while (job := self._queue.get()) is not None:
            jobs = [job]
            last = False
            while len(jobs) < SHARED and not last:
                try:
                    more = self._queue.get_nowait()
                except Empty:
                    break
                if more is None:
                    last = True
                else:
                    jobs.append(more)
            self._write([job for job in jobs if not job.done.cancelled()])
            if last:
                return

    def _write(self, jobs: list[_Job]) -> None:
        try:
            with sqlite_errors(), self._log.transaction():
                results = [_attempt(job.work, self._log) for job in jobs]
        except Exception as error:
            results = [error] * len(jobs)
        self._loop.call_soon_threadsafe(self._deliver, jobs, results, self._log.ranges())

    def _deliver(self, jobs: list[_Job], results: list[Any], ranges: Ranges) -> None:
        self._committed(ranges)
        for job, result in zip(jobs, results, strict=True):
            if job.done.done():
                continue
            if isinstance(result, Exception):
                job.done.set_exception(result)
            else:
                job.done.set_result(result)


def _attempt(work: Callable[[Log], Any], log: Log) -> Any:
    """One refused caller does not spoil the commit of the others."""
    try:
        return work(log)
    except HubError as error:
        return error
