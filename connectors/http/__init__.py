"""A connector without code: a source that is declared in YAML, by front-line staff, and interpreted here."""

import base64
from collections.abc import Mapping

from connectors.http.checks import mistakes
from connectors.http.config import Config, Proof
from connectors.http.hydrate import hydrator
from connectors.http.normalize import normalizer
from connectors.http.poll import listings, send, streams
from connectors.http.webhook import webhook
from core.sdk import Connector, Http, OAuth, PermanentError, Quota, RateHeaders, SettingsError


def build(config: Config) -> Connector[Config]:
    """The declared connector. Raises SettingsError with every mistake that shows only in the whole."""
    if found := list(mistakes(config)):
        raise SettingsError(found)
    return _built(config)


def _built(config: Config) -> Connector[Config]:
    return Connector(
        name=config.vendor,
        title=config.title,
        category=config.category,
        config=Config,
        normalize=normalizer(config),
        evidence={(pair.split(".")[0], pair.split(".")[1]): sure for pair, sure in config.evidence.items()},
        base_url=lambda settings: settings.base_url or settings.api,
        auth=_auth,
        account=_account,
        webhook=webhook(config),
        streams=streams(config),
        hydrate=hydrator(config),
        batch=config.batch,
        listings=listings(config),
        oauth=_oauth,
        quota=lambda settings: tuple(Quota(each.requests, each.per, each.path) for each in settings.quota),
        rate_headers=RateHeaders(*(name.lower() for name in config.rate_headers.model_dump().values())),
        scopes=tuple(config.scopes),
        of=build,
        mock=f"connectors.{config.vendor}.mock" if config.demo else "",
    )


def _auth(config: Config) -> Mapping[str, str]:
    auth = config.auth
    made = {name: secret.get_secret_value() for name, secret in auth.headers.items()}
    if auth.bearer is not None:
        made["Authorization"] = f"Bearer {auth.bearer.get_secret_value()}"
    if auth.basic is not None:
        pair = f"{auth.basic.user}:{auth.basic.password.get_secret_value()}"
        made["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return {**config.headers, **made}


def _oauth(config: Config) -> OAuth | None:
    grant = config.auth.oauth
    return OAuth(grant.url, {name: it.get_secret_value() for name, it in grant.form.items()}) if grant else None


async def _account(http: Http, config: Config) -> str:
    response = await send(http, config, config.proof, {})
    if config.account or config.proof.account is None:
        return config.account or ""
    found = config.proof.account(response.data)
    if not found:
        raise PermanentError(f"no account at proof.account, {config.proof.account.text}")
    return str(found)


# What stands for the family itself: nothing is declared, so it polls, hears and maps nothing.
_NOTHING = Config(
    type="http", vendor="http", title="HTTP, declared in YAML", category="helpdesk", api="https://api.example.com",
    proof=Proof(get="/"), mapping={},
)  # fmt: skip
CONNECTOR = _built(_NOTHING)
