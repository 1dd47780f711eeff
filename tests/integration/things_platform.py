"""A KPN Things that is none: its login GRIP and its API, real HTTP(S) on loopback, which answer as they are told."""

from __future__ import annotations

import json
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TENANT, KEY_ID, KEY_SECRET = "tenant-1", "key-1", "Key-Secret-that-nobody-may-see"
AUDIENCE = "4dc82561-f65f-523g-dek9-6c79ec314f02"


@dataclass(frozen=True)
class Came:
    """A request that came."""

    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def token(self):
        return self.headers["authorization"].removeprefix("Bearer ")


@dataclass
class ThingsPlatform:
    """Gives tokens `token-1`, `token-2`, …; of them the API takes those in `good`, all while that is None.

    `login` and `api` may be set to functions of the request that give status, headers and body in their place; None
    breaks the connection off.
    """

    certificate: tuple[object, object] | None = None
    good: set[str] | None = None
    life: object = 3600
    refused_status: int = 302
    logins: list[Came] = field(default_factory=list)
    downlinks: list[Came] = field(default_factory=list)

    def __post_init__(self):
        self.login = self.usual_login
        self.api = self.usual_api
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 20

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                came = Came(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
                is_login = self.path.startswith(("/api/v3/idp", "/v2/"))
                with outer._lock:
                    (outer.logins if is_login else outer.downlinks).append(came)
                answer = (outer.login if is_login else outer.api)(came)
                if answer is None:
                    self.close_connection = True
                    return
                status, headers, content = answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_args):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, _request, _address):
                pass  # a client that refuses the certificate

        self._server = Server(("127.0.0.1", 0), Handler)
        if self.certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.certificate)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        scheme = "http" if self.certificate is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}"
        self.token_url = f"{self.url}/api/v3/idp/oidc/token"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def usual_login(self, came):
        wanted = json.loads(came.body)
        if (wanted["client_id"], wanted["client_secret"]) != (KEY_ID, KEY_SECRET):
            return (
                401,
                {},
                json.dumps({"error": "invalid_client", "error_description": wanted["client_secret"]}).encode(),
            )
        given = {"access_token": f"token-{len(self.logins)}", "token_type": "Bearer", "expires_in": self.life}
        return 200, {"content-type": "application/json"}, json.dumps(given).encode()

    def usual_api(self, came):
        if self.good is not None and came.token not in self.good:
            return self.refused_status, {"location": f"{self.url}/login"}, b""
        return 201, {"content-type": "application/json"}, b'{"status":"Executing"}'

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
