"""`python -m receiver.web.health_check`: ask the receiver on this machine whether it is ready; for containers.

Exit 0 when `/readyz` answers 200 over plain HTTP or HTTPS on `RECEIVER_HEALTH_CHECK_PORT` (8443), else 1.
"""

from __future__ import annotations

import http.client
import os
import ssl
import sys


def main() -> int:
    """Give the exit code."""
    port = int(os.environ.get("RECEIVER_HEALTH_CHECK_PORT", "8443"))
    # The certificate is made out to the public name; on the loopback interface only life is asked for.
    context = ssl._create_unverified_context()  # noqa: S323, SLF001
    attempts: tuple[http.client.HTTPConnection, ...] = (
        http.client.HTTPConnection("127.0.0.1", port, timeout=2),  # first: a TLS server turns it away without a word
        http.client.HTTPSConnection("127.0.0.1", port, timeout=2, context=context),
    )
    for connection in attempts:
        try:
            connection.request("GET", "/readyz")
            return 0 if connection.getresponse().status == http.HTTPStatus.OK else 1
        except (OSError, http.client.HTTPException):
            continue
        finally:
            connection.close()
    return 1


if __name__ == "__main__":
    sys.exit(main())
