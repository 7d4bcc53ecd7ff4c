"""Which portal the token belongs to."""

from connectors.hubspot.config import Config
from core.sdk import Http, PermanentError


async def account(http: Http, config: Config) -> str:
    """The portal's id. PermanentError where HubSpot does not tell it and `account:` does not either, or they differ."""
    try:
        response = await http.get(config.path("account"))
    except PermanentError as error:
        if not config.account:
            raise PermanentError(
                "HubSpot does not tell this token its account; write the Hub ID as `account:`", status=error.status
            ) from error
        # Credentials are proved all the same, by something that every token may do here.
        await http.get(config.path("list", type="contacts"), limit=1)
        return config.account
    told = str(response.data["portalId"])
    if config.account and config.account != told:
        raise PermanentError(f"this token belongs to portal {told}, `account:` says {config.account}")
    return told
