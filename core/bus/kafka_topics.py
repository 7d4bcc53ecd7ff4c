"""Kafka's topics: created with the settings of the topic table, or held against it."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from aiokafka import errors
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from core.bus.topics import MAX_VALUE, Topic

REPLICAS = 3
IN_SYNC = 2
LARGEST = MAX_VALUE + 65536  # with key and headers


def settings(topic: Topic, replicas: int) -> dict[str, str]:
    """The topic's own configuration; what is not named follows the broker."""
    policy = ",".join(name for name, on in (("compact", topic.compact), ("delete", topic.retention is not None)) if on)
    found = {
        "cleanup.policy": policy,
        "retention.ms": str(_milliseconds(topic)),
        "retention.bytes": "-1",
        "max.message.bytes": str(LARGEST),
        # When the bus took it, not when somebody's clock says.
        "message.timestamp.type": "LogAppendTime",
        "min.insync.replicas": str(IN_SYNC if replicas >= REPLICAS else 1),
    }
    if topic.compact:  # the newest segment is never compacted: let there be newer ones
        found |= {"segment.ms": str(24 * 3600 * 1000), "segment.bytes": str(128 * 1024 * 1024)}
    return found


def _milliseconds(topic: Topic) -> int:
    return -1 if topic.retention is None else topic.retention // timedelta(milliseconds=1)


async def create(admin: AIOKafkaAdminClient, names: Mapping[str, Topic], replication: int | None) -> dict[str, int]:
    """Create what is missing; the number of partitions of each. Several processes may do so at once. Existing topics
    are never changed: `complaints` says what is wrong with them."""
    found = await _described(admin, list(names))
    if missing := [name for name in names if name not in found]:
        cluster = await admin.describe_cluster()
        replicas = replication or min(REPLICAS, len(cluster["brokers"]))
        there = {names[name].name: len(topic["partitions"]) for name, topic in found.items()}
        new = [
            NewTopic(name, there.get(topic.like, topic.partitions), replicas, topic_configs=settings(topic, replicas))
            for name, topic in names.items()
            if name in missing
        ]
        for name, code, message in (await admin.create_topics(new)).topic_errors:
            error = errors.for_code(code)
            if error not in (errors.NoError, errors.TopicAlreadyExistsError):
                raise error(f"{name}: {message}")
    while len(found) < len(names):  # the controller has answered, the brokers hear of it a moment later
        await asyncio.sleep(0.05)
        found = await _described(admin, list(names))
    return {name: len(topic["partitions"]) for name, topic in found.items()}


async def _described(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, Any]:
    """Topics that exist and have a leader for every partition."""
    return {
        topic["topic"]: topic
        for topic in await admin.describe_topics()  # all: asking for a name may create it
        if topic["topic"] in names and all(part["leader"] >= 0 for part in topic["partitions"])
    }


async def complaints(admin: AIOKafkaAdminClient, names: Mapping[str, Topic]) -> list[str]:
    """What stands against keeping the promises, one sentence with its remedy each."""
    described = await _described(admin, list(names))
    configured = await _configured(admin, list(described))
    said = []
    for name, topic in names.items():
        if name not in described:
            said.append(
                f"topic {name} is missing or has no leader: see the brokers, then start the hub, which creates it"
            )
            continue
        partitions = described[name]["partitions"]
        if len(partitions) != topic.partitions:
            said.append(f"topic {name} has {len(partitions)} partitions instead of {topic.partitions}: create it anew")
        replicas = min(len(partition["replicas"]) for partition in partitions)
        said += _losses(name, topic, configured[name]) + _copies(name, replicas, configured[name])
    return said


async def _configured(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    responses = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
    return {
        resource[3]: {entry[0]: entry[1] or "" for entry in resource[4]}
        for response in responses
        for resource in response.resources
    }


def _losses(name: str, topic: Topic, configured: Mapping[str, str]) -> list[str]:
    """Settings that would delete what the topic table promises to keep."""
    said = []
    wanted = settings(topic, REPLICAS)
    policy = set(configured.get("cleanup.policy", "").split(","))
    asked = set(wanted["cleanup.policy"].split(","))
    if policy != asked:
        said.append(_remedy(name, "cleanup.policy", configured, wanted["cleanup.policy"]))
    kept = int(configured.get("retention.ms", "-1"))
    if "delete" in policy and kept != -1 and (topic.retention is None or kept < _milliseconds(topic)):
        said.append(_remedy(name, "retention.ms", configured, wanted["retention.ms"]))
    if configured.get("retention.bytes", "-1") != "-1":
        said.append(_remedy(name, "retention.bytes", configured, "-1"))
    if int(configured.get("max.message.bytes", LARGEST)) < LARGEST:
        said.append(_remedy(name, "max.message.bytes", configured, str(LARGEST)))
    return said


def _copies(name: str, replicas: int, configured: Mapping[str, str]) -> list[str]:
    said = []
    if replicas < REPLICAS:
        said.append(
            f"topic {name} has {replicas} replica(s): one lost disk may lose what was acknowledged; "
            f"reassign it to at least {REPLICAS}"
        )
    if int(configured.get("min.insync.replicas", "1")) < IN_SYNC:
        said.append(_remedy(name, "min.insync.replicas", configured, str(IN_SYNC)))
    return said


def _remedy(name: str, setting: str, configured: Mapping[str, str], value: str) -> str:
    command = f"kafka-configs.sh --alter --entity-type topics --entity-name {name} --add-config {setting}=[{value}]"
    return f"topic {name} has {setting}={configured.get(setting, '')} instead of {value}: {command}"
