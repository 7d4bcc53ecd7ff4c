"""What of hub.yaml decides the records."""

from dataclasses import dataclass, field

from core.identity import Rules
from core.projection import Choice


@dataclass(frozen=True, slots=True)
class Settings:
    """The `identity:` and `show:` sections."""

    rules: Rules = field(default_factory=Rules)
    show: Choice = field(default_factory=Choice)
