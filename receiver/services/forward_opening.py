"""From a forwarder's row to what sends: the secrets opened, the target made. The one place where they are in clear."""

from __future__ import annotations

from typing import TYPE_CHECKING

from receiver.errors import KeyringError
from receiver.services.forwarder_settings import WebhookOptions, read_options, split_broker
from receiver.services.tunnel_keys import SecretText

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from receiver.keyring import Keyring
    from receiver.services.forward_mqtt import MqttTarget
    from receiver.services.forward_webhook import WebhookTarget
    from receiver.storage.forwarders import SealedSecret, StoredForwarder


def seal_secret(keyring: Keyring, forwarder_id: int, secret_id: str, secret: SecretText) -> bytes:
    """Give a secret sealed for its row."""
    return keyring.seal(secret.reveal().encode(), _purpose(forwarder_id, secret_id))


def open_secrets(keyring: Keyring, forwarder_id: int, sealed: Sequence[SealedSecret]) -> tuple[SecretText, ...]:
    """Give the secrets in their order.

    Raises:
        KeyringError: one was sealed with another key-encryption key, or was changed.
    """
    return tuple(
        SecretText(keyring.open(one.sealed_secret, _purpose(forwarder_id, one.secret_id)).decode()) for one in sealed
    )


def open_target(
    keyring: Keyring,
    forwarder: StoredForwarder,
    sealed: Sequence[SealedSecret],
    clock: Callable[[], datetime],
    *,
    is_test: bool = False,
) -> WebhookTarget | MqttTarget:
    """Give what sends for a forwarder; nothing is connected yet.

    A test has a client id of its own: a broker throws out who is connected under the same.

    Raises:
        KeyringError: a secret does not open.
        SettingsError: a file of certificates cannot be used any more.
    """
    secrets = open_secrets(keyring, forwarder.id, sealed)
    options = read_options(forwarder)
    if isinstance(options, WebhookOptions):
        from receiver.services.forward_webhook import WebhookSettings, WebhookTarget

        if not secrets:
            raise KeyringError(f"{forwarder.name} has no signing secret: `receiver forwarder rotate-secret` makes one.")
        return WebhookTarget(WebhookSettings(forwarder.url, forwarder.uid, secrets, options.ca_file), clock)
    from receiver.services.forward_mqtt import MqttSettings, MqttTarget

    host, port, is_tls = split_broker(forwarder.url)
    client_id = options.client_id or f"lora-{forwarder.uid}"
    return MqttTarget(
        MqttSettings(
            host=host,
            port=port,
            is_tls=is_tls,
            client_id=f"{client_id}-test" if is_test else client_id,
            topic=options.topic,
            version=options.version,
            retain=options.retain and not is_test,
            username=options.username,
            password=secrets[0] if secrets else None,
            ca_file=options.ca_file,
            cert_file=options.cert_file,
            key_file=options.key_file,
        )
    )


def _purpose(forwarder_id: int, secret_id: str) -> str:
    return f"forwarder_secret:{forwarder_id}:{secret_id}"
