"""What the server's event loop adds to uvloop."""

from __future__ import annotations

import asyncio
import socket
import ssl
from datetime import UTC, datetime

from receiver.web.self_signed import make_self_signed_certificate
from receiver.web.server import ServerLoop


class ImpatientLoop(ServerLoop):
    handshake_timeout_s = 0.2


def test_a_client_that_never_ends_its_tls_handshake_is_cut_off(tmp_path):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make_self_signed_certificate(cert, key, datetime.now(UTC))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)

    async def connect_and_wait() -> bytes:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0, ssl=context)
        with socket.create_connection(server.sockets[0].getsockname(), timeout=10) as client:
            client.settimeout(10)
            received = await asyncio.to_thread(client.recv, 1)
        server.close()
        return received

    with asyncio.Runner(loop_factory=ImpatientLoop) as runner:
        assert runner.run(connect_and_wait()) == b""
