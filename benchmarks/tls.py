"""Pushes per second over TLS with a new connection for each, as networks come, beside the echo under the same TLS.

    python -m benchmarks.tls [--seconds 1.5] [--rounds 8] [--connections 64]

ECDSA P-256 and RSA-2048 certificates, each with a whole handshake for every push and with resumed sessions. The
receiver is on SQLite with `synchronous=FULL`. The load does half of each handshake and has a core of its own. Both
servers stand all the while and are asked in turn, for a moment each: a machine's speed changes within minutes.
"""

from __future__ import annotations

import argparse
import secrets

from benchmarks.rig import Result, certificates, echo, load, print_table, receiver

ECHO, RECEIVER = "Starlette echo", "receiver, SQLite FULL"


def main() -> None:
    """Measure and print a table for each certificate and way of the handshake."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--connections", type=int, default=64, help="pushes under way at a time")
    options = parser.parse_args()
    key = secrets.token_hex(16)
    tables: dict[str, dict[str, list[Result]]] = {}
    with certificates() as made:
        for name, certificate in made.items():
            for way in ("tls", "tls-resumed"):
                rows = tables.setdefault(f"{name}, {'resumed' if way == 'tls-resumed' else 'whole handshake'}", {})
                with echo("starlette", certificate) as bare, receiver(key, certificate=certificate) as real:
                    for _ in range(options.rounds):
                        for row, server in ((ECHO, bare), (RECEIVER, real)):
                            result = load(server, key, options.seconds, options.connections, way)
                            assert set(result["statuses"]) == {"200"}, result
                            rows.setdefault(row, []).append(result)
    for name, rows in tables.items():
        print(f"**{name}**\n")
        print_table(rows, ECHO, "echo")


if __name__ == "__main__":
    main()
