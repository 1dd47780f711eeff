"""Opens the clients of the management APIs for an account. Nothing is asked of a network before the first call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from receiver.errors import SettingsError
from receiver.http_client import HttpClient, tls_context
from receiver.platforms.caller import PLATFORM_BOUNDS, PlatformCaller
from receiver.platforms.oauth import BearerTokens, OauthAccount, TokenForm

if TYPE_CHECKING:
    from receiver.platforms.dx_core import DxCoreClient
    from receiver.platforms.kpn_lora import KpnLoraClient
    from receiver.platforms.thingpark import ThingParkClient
    from receiver.services.platform_accounts import PlatformAccount

KPN_LORA_PACE_S = 0.05
"""KPN's gateway has a quota whose numbers it does not publish; twenty a second is far from a burst."""

THINGPARK_PACE_S = 0.05
"""ThingPark's limits are not published either; clients of others hold themselves to ten and twenty a second."""


def platform_http() -> HttpClient:
    """Give an HTTP client with the bounds of management APIs; the caller closes it."""
    return HttpClient(tls_context(None), PLATFORM_BOUNDS)


def open_kpn_lora(http: HttpClient, account: PlatformAccount, pace_s: float = KPN_LORA_PACE_S) -> KpnLoraClient:
    """Give the client of an account of `kpn-lora`."""
    from receiver.platforms.kpn_lora import KpnLoraClient

    settings = account.settings
    login = OauthAccount(settings["token_url"], settings["client_id"], account.secret, TokenForm.KPN_GATEWAY)
    tokens = BearerTokens(http, login, "KPN LoRa")
    caller = PlatformCaller(http, settings["api_url"], "KPN LoRa", tokens, pace_s=_pace(settings["api_url"], pace_s))
    return KpnLoraClient(caller, settings["api_version"])


def open_thingpark(http: HttpClient, account: PlatformAccount, pace_s: float = THINGPARK_PACE_S) -> ThingParkClient:
    """Give the client of the Device Manager API for an account of `thingpark`.

    Raises:
        SettingsError: the token form is not one that there is.
    """
    from receiver.platforms.thingpark import ThingParkClient

    settings = account.settings
    tokens = BearerTokens(http, _thingpark_login(account, settings["token_url"], settings["token_form"]), "ThingPark")
    caller = PlatformCaller(http, settings["api_url"], "ThingPark", tokens, pace_s=_pace(settings["api_url"], pace_s))
    return ThingParkClient(caller, settings["subscription"])


def open_dx_core(http: HttpClient, account: PlatformAccount, pace_s: float = THINGPARK_PACE_S) -> DxCoreClient:
    """Give the client of DX Core for an account of `thingpark`: with a token of DX Admin where `dx_token_url` is set.

    Raises:
        SettingsError: the token form is not one that there is.
    """
    from receiver.platforms.dx_core import DxCoreClient

    settings = account.settings
    if settings["dx_token_url"]:
        login = _thingpark_login(account, settings["dx_token_url"], TokenForm.DX_ADMIN)
    else:
        login = _thingpark_login(account, settings["token_url"], settings["token_form"])
    url = settings["dx_core_url"]
    tokens = BearerTokens(http, login, "DX Core")
    return DxCoreClient(PlatformCaller(http, url, "DX Core", tokens, pace_s=_pace(url, pace_s)))


def _thingpark_login(account: PlatformAccount, token_url: str, form: str) -> OauthAccount:
    try:
        token_form = TokenForm(form)
    except ValueError as exc:
        raise SettingsError(f"{form!r} is no token form: choose {' or '.join(TokenForm)}.") from exc
    return OauthAccount(token_url, account.settings["client_id"], account.secret, token_form)


def _pace(url: str, pace_s: float) -> float:
    """Give no pace for this machine: an emulator has no quota to spare."""
    return 0.0 if url.startswith("http://") else pace_s
