"""What to do about a refusal of KPN's LoRa Device Management API, by what was asked and what was said.

KPN publishes one number, OSS-214, and no wording; so what is known by number is looked for first, and the rest by the
words that such sentences have. Where nothing fits, the refusal stays as it is.
Source: KPN LoRa Device Management API, documentation page, "Application status message".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from receiver.errors import LoginRefusedError, PlatformRefusedError
from receiver.lorawan.identifiers import shorten

if TYPE_CHECKING:
    from receiver.platforms.kpn_lora_records import ConnectivityPlan

PLAN_UNKNOWN = 214
"""OSS-214: there is no such connectivity plan."""

_PLAN_IN_WORDS = re.compile(r"ConnectivityPlan for ID: (\S{1,100})")
_ACTIVATION = re.compile(r"activat", re.IGNORECASE)
_OTHER_ACTIVATION = re.compile(r"activation ?type|OTAA|ABP", re.IGNORECASE)
_NO_ROOM = re.compile(
    r"licen[cs]e|(?:no|not enough|insufficient|maximum|exceed\w*|limit of)\W.{0,40}\bconnections?\b", re.IGNORECASE
)
_TAKEN = re.compile(r"already|duplicate|not unique|must be unique|in use", re.IGNORECASE)
_ENTROPY = re.compile(r"entropy|too weak|weak key", re.IGNORECASE)
_ADDRESS = re.compile(r"certificate|\bSSL|\bTLS|\bURLs?\b|\bURI\b|https?\b|\baddress", re.IGNORECASE)


def explain(
    refused: PlatformRefusedError,
    *,
    plan: str | None = None,
    dev_eui: str | None = None,
    profile: str | None = None,
    addresses: tuple[str, ...] = (),
) -> PlatformRefusedError:
    """Give the refusal with what to do, where that is known.

    Args:
        refused: as the caller raised it.
        plan: the connectivity plan that was asked for.
        dev_eui: of the device that was to be made or changed.
        profile: name of the routing profile that was to be made or changed.
        addresses: what it was to push to.
    """
    hint = _hint(refused, plan, dev_eui, profile, addresses)
    if hint is None:
        return refused
    return PlatformRefusedError(
        f"{refused} {hint}",
        status=refused.status,
        oss_code=refused.oss_code,
        error_id=refused.error_id,
        said=refused.said,
    )


def explain_login(refused: LoginRefusedError) -> LoginRefusedError:
    """Give a refused login with what to do where the project may not be activated."""
    if _ACTIVATION.search(str(refused)):
        return LoginRefusedError(f"{refused} {_NOT_ACTIVATED}")
    return refused


def refuse_full_plan(plans: list[ConnectivityPlan], plan: str, wanted: int = 1) -> None:
    """Return if the plan has room for so many devices, or does not say.

    Raises:
        PlatformRefusedError: it has not, or there is no such plan in this subscription.
    """
    found = next((one for one in plans if plan in {one.id, one.ref}), None)
    if found is None:
        known = ", ".join(str(one.id) for one in plans[:10]) or "none"
        raise PlatformRefusedError(
            f"There is no connectivity plan {shorten(plan, 80)} in this subscription; there are: {known}.",
            status=404,
            oss_code=PLAN_UNKNOWN,
        )
    free = found.free_connections
    if free is not None and free < wanted:
        raise PlatformRefusedError(
            f"The connectivity plan {plan} has {free} free of {found.granted_connections} licences, and {wanted}"
            f" {'is' if wanted == 1 else 'are'} needed: {_MAKE_ROOM}",
            status=409,
        )


_NOT_ACTIVATED = "If this project was never activated, `receiver kpn-lora activate` does it, once for each project."
_MAKE_ROOM = "choose another plan, delete devices that are not used, or have the plan widened at KPN."


def _hint(
    refused: PlatformRefusedError,
    plan: str | None,
    dev_eui: str | None,
    profile: str | None,
    addresses: tuple[str, ...],
) -> str | None:
    said = refused.said
    in_words = _PLAN_IN_WORDS.search(said)
    if refused.oss_code == PLAN_UNKNOWN or in_words:
        named = plan or (in_words[1] if in_words else "that was named")
        return (
            f"There is no connectivity plan {named} in this subscription: `receiver kpn-lora plans list` shows those"
            " there are."
        )
    if refused.status == 403 or (_ACTIVATION.search(said) and not _OTHER_ACTIVATION.search(said)):
        return _NOT_ACTIVATED
    if _ENTROPY.search(said):
        return "The tunnel key is too easy to guess for the network: let this receiver draw a new one."
    if dev_eui is not None and _NO_ROOM.search(said):
        return f"There is no free licence in the connectivity plan {plan or 'of the device'}: {_MAKE_ROOM}"
    if refused.status == 409 or _TAKEN.search(said):
        return _taken(dev_eui, profile)
    if addresses and _ADDRESS.search(said):
        return (
            f"The network must be able to push to {' and '.join(addresses)}: https, a name that the world resolves, and"
            " a certificate that the world trusts, sent with its whole chain."
        )
    return None


def _taken(dev_eui: str | None, profile: str | None) -> str | None:
    if dev_eui is not None:
        return (
            f"A device with DevEUI {dev_eui} is there already, here or in another subscription: `receiver kpn-lora"
            f" devices show {dev_eui}` finds it if it is in this one."
        )
    if profile is not None:
        return (
            f"The name {profile} is taken or the routing profile is in use: choose another name, or see `receiver"
            " kpn-lora routing-profiles list`."
        )
    return None
