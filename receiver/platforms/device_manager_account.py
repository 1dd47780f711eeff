"""How an account logs in to the Device Manager API. What KPN's login wants is not published: all of it is settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from receiver.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T", bound=StrEnum)


class LoginForm(StrEnum):
    """How login and password become an access code."""

    HTML = "html"
    """A login page is posted; its reply is HTML with the access code in an address. KPN's."""
    JSON = "json"
    """The login of ThingPark's back office, in JSON, which is then asked for an access code."""
    XML = "xml"
    """The same with the login in XML."""
    DIGEST = "digest"
    """The same with HTTP Digest in place of a login."""


class Answers(StrEnum):
    """In what form data is asked for."""

    JSON = "json"
    XML = "xml"

    @property
    def media_type(self) -> str:
        """What `Accept` says. Source: KPN's Device Manager API page, data types."""
        return f"application/{self.value}"


@dataclass(frozen=True, slots=True)
class DeviceManagerAccount:
    """An account, opened. Paths continue `api_url`; URLs are without a slash at the end.

    `start_parameter` names the access code in the call that starts the session. `subscription`: the number of the
    subscription to work on; empty: the one that the session is of.
    """

    login: str
    password: str = field(repr=False)
    api_url: str
    smp_url: str
    login_url: str
    login_form: LoginForm
    login_field: str
    password_field: str
    login_as_json: bool
    start_path: str
    start_parameter: str
    start_type: str
    logout_path: str
    subscriber_id: str
    module_id: str
    subscription: str
    answers: Answers


def read_account(settings: Mapping[str, str], password: str) -> DeviceManagerAccount:
    """Give an account out of its settings, all of them there, and its password.

    Raises:
        SettingsError: one is not of its form, or the login's form needs one that is empty.
    """
    form = _choice(LoginForm, "login_form", settings["login_form"])
    login_url = settings["login_url"]
    smp_url = settings["smp_url"]
    if not login_url:
        if form is LoginForm.HTML:
            raise SettingsError(
                "The account needs login_url: the address that the login page is posted to. KPN gives it in the Postman"
                " collection that its Device Manager API page links to; a browser shows it too, at a login on the web."
            )
        login_url = f"{smp_url}/admins/{'id' if form is LoginForm.DIGEST else 'login'}"
    if form is not LoginForm.HTML and not settings["subscriber_id"]:
        raise SettingsError(
            f"A login of the form {form} needs subscriber_id: the number of the subscriber, such as 100000001, which"
            " the access code is asked for."
        )
    is_user = form is LoginForm.HTML
    return DeviceManagerAccount(
        login=settings["login"],
        password=password,
        api_url=settings["api_url"],
        smp_url=smp_url,
        login_url=login_url,
        login_form=form,
        login_field=settings["login_field"],
        password_field=settings["password_field"],
        login_as_json=_is_one_of("login_body", settings["login_body"], "json", "form"),
        start_path=_path("start_path", settings["start_path"]),
        start_parameter=settings["start_parameter"] or ("userAccessCode" if is_user else "adminAccessCode"),
        start_type=settings["start_type"],
        logout_path=_path("logout_path", settings["logout_path"]),
        subscriber_id=settings["subscriber_id"],
        module_id=settings["module_id"],
        subscription=settings["subscription"],
        answers=_choice(Answers, "answers", settings["answers"]),
    )


def _choice(of: type[T], name: str, value: str) -> T:
    try:
        return of(value)
    except ValueError as exc:
        raise SettingsError(f"{value[:40]!r} is no {name}: choose {', '.join(of)}.") from exc


def _is_one_of(name: str, value: str, wanted: str, other: str) -> bool:
    if value not in {wanted, other}:
        raise SettingsError(f"{value[:40]!r} is no {name}: choose {other} or {wanted}.")
    return value == wanted


def _path(name: str, value: str) -> str:
    if not value.startswith("/"):
        raise SettingsError(f"{value[:40]!r} is no {name}: it continues api_url, and so begins with a slash.")
    return value
