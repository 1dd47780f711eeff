"""Pushes per second over TLS with a new connection for each, as networks come, beside the echo under the same TLS.

    python -m benchmarks.tls [--seconds 5] [--rounds 3]

ECDSA P-256 and RSA-2048 certificates, each with a whole handshake for every push and with resumed sessions. The
receiver is on SQLite with `synchronous=FULL`. The load does half of each handshake and has a core of its own.
"""

from __future__ import annotations

import argparse
import secrets

from benchmarks.rig import Result, certificates, echo, load, print_table, receiver

CONNECTIONS = 16


def main() -> None:
    """Measure and print a table for each certificate and way of the handshake."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    key = secrets.token_hex(16)
    tables: dict[str, dict[str, list[Result]]] = {}
    with certificates() as made:
        for _ in range(options.rounds):
            for name, certificate in made.items():
                for way in ("tls", "tls-resumed"):
                    rows = tables.setdefault(f"{name}, {'resumed' if way == 'tls-resumed' else 'whole handshake'}", {})
                    with echo("starlette", certificate) as server:
                        rows.setdefault("Starlette echo", []).append(
                            load(server, key, options.seconds, CONNECTIONS, way)
                        )
                    with receiver(key, certificate=certificate) as server:
                        rows.setdefault("receiver, SQLite FULL", []).append(
                            load(server, key, options.seconds, CONNECTIONS, way)
                        )
    for name, rows in tables.items():
        print(f"**{name}**\n")
        print_table(rows, "Starlette echo", "echo")


if __name__ == "__main__":
    main()
