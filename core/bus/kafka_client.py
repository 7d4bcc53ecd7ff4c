"""What every Kafka client of the hub is opened with, and Kafka's errors as ours."""

import asyncio
import inspect
import logging
import re
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, errors
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.helpers import create_ssl_context

from core.bus.topics import MAX_VALUE
from core.errors import ConfigError, HubError, PermanentError, TransientError, UnauthorizedError

ANSWER_WITHIN = 10.0  # seconds that any call may take, connecting included
ANSWER_SOON = 5.0  # seconds that a start that nobody wants any more may take
RETRY_AFTER = timedelta(seconds=5)

_TLS = {
    "ssl_cafile": "cafile", "ssl_capath": "capath", "ssl_cadata": "cadata",
    "ssl_certfile": "certfile", "ssl_keyfile": "keyfile", "ssl_password": "password",
}  # fmt: skip
_OURS = frozenset((
    "bootstrap_servers", "loop", "api_version", "ssl_context", "acks", "enable_idempotence", "transactional_id",
    "partitioner", "key_serializer", "value_serializer", "key_deserializer", "value_deserializer", "group_id",
    "auto_offset_reset", "enable_auto_commit", "isolation_level", "max_request_size", "self", "topics",
))  # fmt: skip
_PERMANENT = (
    errors.ProducerFenced, errors.InvalidProducerEpoch, errors.MessageSizeTooLargeError, errors.OffsetOutOfRangeError,
)  # fmt: skip
_UNAUTHORIZED = (
    errors.TopicAuthorizationFailedError, errors.GroupAuthorizationFailedError, errors.ClusterAuthorizationFailedError,
    errors.TransactionalIdAuthorizationFailed, errors.SaslAuthenticationFailed,
)  # fmt: skip


_REFUSALS = (
    errors.SaslAuthenticationFailed, errors.UnsupportedSaslMechanismError, ssl.SSLCertVerificationError,
)  # fmt: skip


class _LastWords(logging.Handler):
    """aiokafka tells why it cannot connect (a wrong password, an unknown certificate) only to its log, and while a
    broker is away thirty times a second: so the log ends here, and the reason goes into our error, once."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._said, self._at, self._refused = "", 0.0, False

    def emit(self, record: logging.LogRecord) -> None:
        self._said, self._at = record.getMessage(), time.monotonic()
        self._refused = any(isinstance(each, _REFUSALS) for each in record.args or ())

    def __str__(self) -> str:
        return f" ({self._said})" if self._fresh() else ""

    def error(self, said: str) -> TransientError:
        """No connection came about: because the brokers are away, or because they refuse us or we them."""
        if self._refused and self._fresh():
            return UnauthorizedError(f"{said}; correct the credentials of bus.options", retry_after=RETRY_AFTER)
        return TransientError(said, retry_after=RETRY_AFTER)

    def _fresh(self) -> bool:
        return time.monotonic() - self._at < ANSWER_WITHIN


_last_words = _LastWords()
logging.getLogger("aiokafka").addHandler(_last_words)
logging.getLogger("aiokafka").propagate = False

C = TypeVar("C", AIOKafkaConsumer, AIOKafkaProducer, AIOKafkaAdminClient)


@contextmanager
def kafka_errors(doing: str) -> Iterator[None]:
    """Kafka's errors, and those of the way to it, as ours; `doing` begins the message."""
    try:
        yield
    except TimeoutError as error:
        said = f"{doing}: Kafka did not answer in time{_last_words}; do the brokers run, does bus.servers name them?"
        raise _last_words.error(said) from error
    except (errors.KafkaError, OSError) as error:
        raise _ours(doing, error) from error


def _ours(doing: str, error: Exception) -> HubError:
    said = f"{doing}: {type(error).__name__}: {error}"
    match error:
        case errors.ProducerFenced() | errors.InvalidProducerEpoch():
            return PermanentError(f"{said}; another sender took over, or this one paused for too long")
        case errors.KafkaConnectionError():
            return _last_words.error(said + str(_last_words))
        case _ if isinstance(error, _PERMANENT):
            return PermanentError(said)
        case _ if isinstance(error, _UNAUTHORIZED):
            return UnauthorizedError(f"{said}; give the user of bus.options this right", retry_after=RETRY_AFTER)
        case _:
            return TransientError(said, retry_after=RETRY_AFTER)


@dataclass(frozen=True, slots=True)
class Client:
    """Makes clients that are not started yet. `prefix` stands before the name of every topic and group."""

    prefix: str
    _common: Mapping[str, Any]
    _producer: Mapping[str, Any]
    _consumer: Mapping[str, Any]

    def producer(self, **own: Any) -> AIOKafkaProducer:
        return AIOKafkaProducer(**self._producer, **own)

    def consumer(self, **own: Any) -> AIOKafkaConsumer:
        """Reads what is committed. Never resets an offset by itself."""
        return AIOKafkaConsumer(**self._consumer, **own)

    def admin(self) -> AIOKafkaAdminClient:
        return AIOKafkaAdminClient(**self._common)

    async def validate(self) -> None:
        """Raises ConfigError on options that aiokafka refuses; connects to nothing."""
        try:
            await self.producer().stop()
            await self.consumer().stop()
        except (ValueError, TypeError, RuntimeError) as error:
            raise ConfigError(f"bus.options: {error}") from error


def make_client(servers: str, prefix: str, options: Mapping[str, Any]) -> Client:
    """`options` are aiokafka's own by name, for the producer, the consumer or both. Raises ConfigError on unknown ones
    and on those that the promises of the bus rest upon."""
    if not re.fullmatch(r"[a-zA-Z0-9._-]{0,100}", prefix):
        raise ConfigError("bus.prefix: Kafka allows letters, digits, dots, dashes and underscores in names")
    rest = {name: value for name, value in options.items() if name not in _TLS and name != "ssl_check_hostname"}
    takes = {kind: set(inspect.signature(kind.__init__).parameters) - _OURS for kind in _KINDS}
    known = set().union(*takes.values())
    for name in rest:
        if name in _OURS:
            raise ConfigError(f"bus.options.{name}: the hub sets it itself; remove it")
        if name not in known:
            hint = get_close_matches(name, [*known, *_TLS], 1)
            raise ConfigError(f"bus.options.{name}: unknown setting" + (f"; did you mean `{hint[0]}`?" if hint else ""))
    common = {"bootstrap_servers": servers, "client_id": "supporthub", "request_timeout_ms": 8000, **_tls(options)}
    common_names = takes[AIOKafkaAdminClient]
    common |= {name: value for name, value in rest.items() if name in common_names}
    # Kafka's own bound for a batch. aiokafka sends a second one of a partition only after the first, and then alone.
    producer = {"max_batch_size": 1_000_000, "max_request_size": MAX_VALUE + 65536, "acks": "all"}
    producer |= {name: value for name, value in rest.items() if name in takes[AIOKafkaProducer]}
    consumer = {"auto_offset_reset": "none", "enable_auto_commit": False, "isolation_level": "read_committed"}
    # A rebalance waits for each member's next heartbeat.
    consumer |= {"heartbeat_interval_ms": 1000, "session_timeout_ms": 10000}
    consumer |= {name: value for name, value in rest.items() if name in takes[AIOKafkaConsumer]}
    return Client(prefix, common, common | producer | {"enable_idempotence": True}, common | consumer)


async def started(client: C) -> C:
    """The client, connected; closed again where that fails."""
    starting = asyncio.ensure_future(client.start())
    why: BaseException
    try:
        await asyncio.shield(starting)
        return client
    except BaseException as error:
        why = error
    leaving = asyncio.ensure_future(_given_up(client, starting))
    while not leaving.done():
        try:
            await asyncio.wait([leaving])
        except asyncio.CancelledError as cancelled:  # it takes no longer for that
            why = cancelled
    leaving.exception()  # what went wrong first counts
    raise why


async def _given_up(client: Any, starting: asyncio.Future[Any]) -> None:
    # Cancelled while it waits for the first answer, aiokafka forgets that connection: so the answer may come first.
    await asyncio.wait([starting], timeout=ANSWER_SOON)
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    await stopped(client)


async def stopped(client: C) -> None:
    """Close in bounded time, also while no broker answers: aiokafka's own `stop` may wait for ever, and lets the
    cancellation of its inner tasks out before it has closed the connections."""
    stopping = asyncio.ensure_future(client.close() if isinstance(client, AIOKafkaAdminClient) else client.stop())
    inner = client.client if isinstance(client, AIOKafkaProducer) else client._client
    try:
        await asyncio.wait([stopping], timeout=ANSWER_WITHIN)
        stopping.cancel()
        await asyncio.gather(stopping, return_exceptions=True)
        await inner.close()
        async with inner._get_conn_lock:  # a connection that was being opened is known only afterwards
            await inner.close()
    finally:
        for connection in list(inner._conns.values()):  # also where this is cancelled, for this waits for nothing
            connection.close()


_KINDS = (AIOKafkaAdminClient, AIOKafkaProducer, AIOKafkaConsumer)


def _tls(options: Mapping[str, Any]) -> dict[str, Any]:
    files = {_TLS[name]: value for name, value in options.items() if name in _TLS}
    if options.get("security_protocol", "PLAINTEXT") not in ("SSL", "SASL_SSL"):
        if files:  # SECURITY: who names certificates does not want to talk in the clear
            raise ConfigError("bus.options: ssl_* is set, so set `security_protocol: SSL` (or SASL_SSL), too")
        return {}
    try:
        context = create_ssl_context(**files)
    except (OSError, ssl.SSLError, TypeError) as error:
        raise ConfigError(f"bus.options: the certificates named by ssl_* cannot be used: {error}") from error
    context.check_hostname = bool(options.get("ssl_check_hostname", True))
    return {"ssl_context": context}
