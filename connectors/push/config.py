"""Settings of a push connection."""

from pydantic import Field, SecretStr

from core.sdk import ConnectorConfig
from schemas.entities import EvidenceClass


class Config(ConnectorConfig):
    """An entry with `type: push`."""

    account: str = Field(
        min_length=1, description="A word for the sending system, such as erp; part of every key, so never change it."
    )
    token: SecretStr = Field(
        min_length=16, description="A long random word of your own: the sender's `Authorization: Bearer`."
    )
    evidence: EvidenceClass = Field(
        "recorded",
        description="What the addresses and numbers of its persons are worth: `proved` where the system has them "
        "confirmed, `recorded` where staff or billing keep them, `claimed` where anybody can type them.",
    )
    max_items: int = Field(1_000, ge=1, description="Most items of one batch.")
