"""The description of the API, as the application makes it."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime

from receiver.keyring import KEK_BYTES, Keyring
from receiver.storage.engine import open_engine
from receiver.web.api import api_operations
from receiver.web.openapi import describe_api


def operations():
    """Give the table of operations over a database that nobody opens."""
    engine = open_engine("sqlite:///never-opened.db")
    return api_operations(engine, Keyring(bytes(KEK_BYTES)), lambda: datetime.now(UTC))


def described():
    return json.loads(json.dumps(describe_api(operations())))


def close_objects(document):
    """Give the description with objects that have no members but those that it names."""
    document = copy.deepcopy(document)
    for schema in document["components"]["schemas"].values():
        schema["additionalProperties"] = False
    return document
