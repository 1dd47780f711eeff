"""Why a login at the Device Manager API was refused, as sentences that say what to do.

Source: KPN's Device Manager API page, error codes of the login.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from receiver.errors import LoginRefusedError
from receiver.platforms.calls import WITHHELD

if TYPE_CHECKING:
    from collections.abc import Iterable

WRONG_PASSWORD = frozenset({"50", "108", "109", "123"})
LOCKED = "121"
NOT_ASSOCIATED = "124"

_CODE = re.compile(r"[A-Za-z0-9_.-]{1,20}\Z")
_NOT_PRINTABLE = re.compile(r"[^\x20-\x7e\u00a1-\u024f\u2026]+")
_MOST_INFO = 200

_ONCE = "It is not tried again by itself, since accounts get locked"


class RejectedLoginError(LoginRefusedError):
    """The Device Manager has said no to this login and password: they are not to be tried again unasked."""


def rejection_of(code: str, infos: Iterable[str] = (), password: str = "") -> RejectedLoginError:
    """Give the error that an error code of the login is. What it says besides is shown without the password."""
    code = code.strip()
    if code in WRONG_PASSWORD:
        return RejectedLoginError(
            f"The Device Manager does not take this login and password (error {code}). {_ONCE}: check it on the web,"
            " and give the account another with `receiver device-manager account set-secret`, or try this one with"
            " `receiver device-manager login-test --again`."
        )
    if code == LOCKED:
        return RejectedLoginError(
            f"The Device Manager has locked this account (error {LOCKED}). Have it unlocked there, or set a new"
            " password; then test it with `receiver device-manager login-test --again`."
        )
    if code == NOT_ASSOCIATED:
        return RejectedLoginError(
            f"This account is not associated with the Device Manager (error {NOT_ASSOCIATED}): have the network's"
            " operator give it a subscription there, which KPN does for LoRa-only customers; then test it with"
            " `receiver device-manager login-test --again`."
        )
    shown = f"error {code}" if _CODE.match(code) else "an error without a number"
    shown_infos = (info.replace(password, WITHHELD) if password else info for info in infos)
    said = "; ".join(_NOT_PRINTABLE.sub(" ", info)[:_MOST_INFO] for info in shown_infos)
    words = f" It says: {said}." if said else ""
    return RejectedLoginError(
        f"The Device Manager refused the login with {shown}, which is not documented.{words} {_ONCE}: look at it on"
        " the web, then test it with `receiver device-manager login-test --again`."
    )


def rejection_of_status(status: int) -> RejectedLoginError:
    """Give the error that a login's status 401 or 403 is."""
    return RejectedLoginError(
        f"The Device Manager does not take this login and password (status {status}). {_ONCE}: check it on the web,"
        " and give the account another with `receiver device-manager account set-secret`, or try this one with"
        " `receiver device-manager login-test --again`."
    )
