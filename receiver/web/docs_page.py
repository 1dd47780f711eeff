"""The description of the API as a page for people: HTML that loads nothing, made from the OpenAPI document."""

from __future__ import annotations

import base64
import hashlib
import re
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from receiver.web.openapi import Document

_STYLE = """
:root{color-scheme:light dark;--edge:#8884;--soft:#8881}
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem;overflow-wrap:anywhere}
h1{margin:.5rem 0}h2{margin:2.5rem 0 .5rem}h3{font-size:1.05rem;margin:0 0 .5rem}
code,pre{font:.875em/1.5 ui-monospace,monospace}
pre{background:var(--soft);padding:.6rem;border-radius:.4rem;overflow-x:auto;white-space:pre-wrap}
section{border:1px solid var(--edge);border-radius:.6rem;padding:.8rem 1rem;margin:1rem 0}
b{background:var(--soft);border:1px solid var(--edge);border-radius:.3rem;padding:0 .4rem;font-size:.85em}
dl{display:grid;grid-template-columns:minmax(6rem,max-content) 1fr;gap:.3rem 1rem;margin:.3rem 0 .8rem}
dt{font-family:ui-monospace,monospace;font-size:.875em;padding-top:.1rem}dd{margin:0}
dd small{display:block;opacity:.75}nav ul{columns:16rem;padding-left:1.2rem}summary{cursor:pointer}
@media(max-width:36rem){dl{grid-template-columns:1fr;gap:0}dd{margin:0 0 .5rem}}
"""

_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing is loaded and nothing runs, whatever should ever come into the page."""

_WORDS = {"string": "text", "integer": "whole number", "boolean": "true or false"}

_BASE = "https://lora.example.org"
"""Of the receiver in the examples, as in the README."""


def write_docs_page(document: Document) -> str:
    """Give the page."""
    info = document["info"]
    operations = [
        (tag["name"], path, method, told)
        for tag in document["tags"]
        for path, by_method in document["paths"].items()
        for method, told in by_method.items()
        if tag["name"] in told["tags"]
    ]
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>{escape(info['title'])}: the API</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(info['title'])}: the API</h1>",
        f"<p>Version {escape(info['version'])}. For machines:",
        '<a href="openapi.json">openapi.json</a>, OpenAPI 3.1.</p>',
        *(f"<p>{_prose(part)}</p>" for part in info["description"].split("\n\n")),
        *(f"<p>{_prose(scheme['description'])}</p>" for scheme in document["components"]["securitySchemes"].values()),
        "<nav><ul>",
        *(
            f'<li><a href="#{escape(told["operationId"])}">{method.upper()} {escape(path)}</a></li>'
            for _, path, method, told in operations
        ),
        "</ul></nav><main>",
    ]
    section = None
    for tag, path, method, told in operations:
        if tag != section:
            section = tag
            parts.append(f"<h2>{escape(tag.capitalize())}</h2>")
        parts += _write_operation(path, method, told)
    parts.append("<h2>What is answered</h2>")
    for name, schema in document["components"]["schemas"].items():
        parts += _write_schema(name, schema)
    return "\n".join([*parts, "</main></body></html>", ""])


def _write_operation(path: str, method: str, told: Document) -> Iterator[str]:
    yield f'<section id="{escape(told["operationId"])}">'
    yield f"<h3><b>{method.upper()}</b> <code>{escape(path)}</code></h3><p>{_prose(told['summary'])}"
    yield f" {_prose(told['description'])}</p>" if told["security"] else " No key is needed.</p>"
    if parameters := told.get("parameters", ()):
        yield "<h4>Parameters</h4><dl>"
        for one in parameters:
            place = ", in the path" if one["in"] == "path" else ""
            right = f"{_tell_type(one['schema'])}{place}"
            yield f"<dt>{escape(one['name'])}</dt><dd>{_prose(one['description'])}<small>{right}</small></dd>"
        yield "</dl>"
    if "requestBody" in told:
        yield f"<h4>Body</h4><p>{_tell_content(told['requestBody']['content'])}</p>"
    good = {status: answer for status, answer in told["responses"].items() if status < "400"}
    bad = {status: answer for status, answer in told["responses"].items() if status not in good}
    yield f"<h4>Answers</h4>{_write_answers(good)}"
    if bad:
        yield f"<details><summary>If not: {', '.join(map(escape, bad))}</summary>{_write_answers(bad)}</details>"
    yield f"<pre>{escape(_write_curl(path, method, told))}</pre></section>"


def _write_answers(answers: Mapping[str, Document]) -> str:
    parts = ["<dl>"]
    for status, answer in answers.items():
        content = _tell_content(answer.get("content", {}))
        headers = "".join(
            f"<small><code>{escape(name)}</code>: {_prose(header['description'])}</small>"
            for name, header in answer.get("headers", {}).items()
        )
        about = _prose(answer["description"])
        parts.append(f"<dt>{escape(status)}</dt><dd>{about}<small>{content}</small>{headers}</dd>")
    return "\n".join([*parts, "</dl>"])


def _write_schema(name: str, schema: Document) -> Iterator[str]:
    yield f'<section id="schema-{escape(name)}"><h3>{escape(name)}</h3>'
    yield f"<p>{_prose(schema.get('description', ''))}</p><dl>"
    required = schema.get("required", ())
    for member, of in schema.get("properties", {}).items():
        left_out = "" if member in required else ", where there is one"
        about = f"<small>{_prose(of['description'])}</small>" if "description" in of else ""
        yield f"<dt>{escape(member)}</dt><dd>{_tell_type(of)}{left_out}{about}</dd>"
    yield "</dl></section>"


def _write_curl(path: str, method: str, told: Document) -> str:
    """Give a command that can be tried, with an example of what must be given and of what else may be."""
    target = path
    query: dict[str, str] = {}
    for one in told.get("parameters", ()):
        example = next(iter(one["schema"].get("items", one["schema"]).get("examples", ())), None)
        if one["in"] == "path":
            target = target.replace(f"{{{one['name']}}}", quote(str(example)))
        elif example is not None and not query:
            query = {one["name"]: str(example)}
    target += f"?{urlencode(query)}" if query else ""
    words = ["curl"] if method == "get" else ["curl", "-X", method.upper()]
    if any("text/event-stream" in answer.get("content", ()) for answer in told["responses"].values()):
        words.append("-N")
    if told["security"]:
        words += ["-H", '"Authorization: Bearer $KEY"']
    if "requestBody" in told:
        words += ["-H", "'Content-Type: application/json'", "-d", "@body.json"]
    return " ".join([*words, f"'{_BASE}{target}'"])


def _tell_content(content: Mapping[str, Any]) -> str:
    return "; ".join(f"<code>{escape(name)}</code>: {_tell_type(of['schema'])}" for name, of in content.items())


def _tell_type(schema: Document) -> str:
    """Say in words what a schema allows, as HTML."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#schema-{name}">{name}</a>'
    if "oneOf" in schema:
        return " or ".join(_tell_type(one) for one in schema["oneOf"])
    said = schema.get("type", "anything")
    kinds: list[str] = said if isinstance(said, list) else [said]
    if "array" in kinds and "items" in schema:
        most = f", up to {schema['maxItems']} of them" if "maxItems" in schema else ""
        return f"list of {_tell_type(schema['items'])}{most}"
    if "enum" in schema:
        return " or ".join(f"<code>{escape(str(choice))}</code>" for choice in schema["enum"])
    told = escape(" or ".join(_WORDS.get(kind, kind) for kind in kinds))
    if "format" in schema:
        told += f", {escape(schema['format'])}"
    if "pattern" in schema and "examples" not in schema:  # an example says more to people
        told += f", <code>{escape(schema['pattern'])}</code>"
    told += _tell_range(schema, "minimum", "maximum", "") + _tell_range(schema, "minLength", "maxLength", " characters")
    if "examples" in schema:
        told += f", like <code>{escape(str(schema['examples'][0]))}</code>"
    return told


def _tell_range(schema: Document, least: str, most: str, of: str) -> str:
    return f", {schema[least]} to {schema[most]}{of}" if least in schema and most in schema else ""


def _prose(text: str) -> str:
    """Give text as HTML; what stands in backticks is code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
