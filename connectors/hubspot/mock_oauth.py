"""The token endpoint of the mocked portal: access tokens that end after half an hour, by the mock's clock."""

from collections.abc import Mapping, Sequence
from hashlib import sha256

from aiohttp import web

from core.sdk.mock import answer, now

LIVES = 1_800  # seconds


class Grants:
    """`rotates`: each refresh token is good for once, as other sources have it; HubSpot's stay."""

    def __init__(self, client_id: str, client_secret: str, refresh_token: str) -> None:
        self.rotates = False
        self.given = 0
        self._client, self._refresh = (client_id, client_secret), refresh_token
        self._ends: dict[str, int] = {}

    def routes(self) -> Sequence[web.RouteDef]:
        return [web.post("/oauth/{version:v1|v3|20[0-9]{2}-[0-9]{2}}/token", self._token)]

    def admits(self, request: web.Request) -> bool:
        """The endpoint itself asks for credentials in the form; everything else for a token that has not ended."""
        access = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return request.path.startswith("/oauth/") or self._ends.get(access, 0) > now(request)

    async def _token(self, request: web.Request) -> web.Response:
        form: Mapping[str, object] = await request.post()
        if (form.get("client_id"), form.get("client_secret")) != self._client:
            return self._refused("BAD_CLIENT_ID", "missing or unknown client id")
        if form.get("grant_type") != "refresh_token" or form.get("refresh_token") != self._refresh:
            return self._refused("BAD_REFRESH_TOKEN", "missing or unknown refresh token")
        self.given += 1
        access = sha256(f"{self._refresh} {self.given}".encode()).hexdigest()
        self._ends[access] = now(request) + LIVES * 1000
        if self.rotates:
            self._refresh = sha256(access.encode()).hexdigest()
        found = {"access_token": access, "refresh_token": self._refresh, "expires_in": LIVES, "token_type": "bearer"}
        return answer(found)

    def _refused(self, status: str, message: str) -> web.Response:
        return answer({"status": status, "message": message}, 400)
