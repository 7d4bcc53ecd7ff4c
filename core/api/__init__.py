"""REST, feed and page over the store. Private by default, closed without a token; never calls an earlier stage."""

from core.api.app import app, listening
from core.api.room import Room
from core.api.tokens import SCOPES, new_login, new_token, revoke
from core.api.watched import watched

__all__ = ["SCOPES", "Room", "app", "listening", "new_login", "new_token", "revoke", "watched"]
