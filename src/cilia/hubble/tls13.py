"""TLS 1.3 and nothing older, for a process that speaks gRPC.

gRPC has no word for that in Python, but the ciphers that it offers in TLS 1.2 can be
chosen, and those of 1.3 cannot. So the one that is chosen wants a key known beforehand:
nobody has one, and nobody agrees on 1.2. The choice is read when gRPC is first imported,
which is why this module does not.
"""

import os

CIPHERS = "GRPC_SSL_CIPHER_SUITES"
PRE_SHARED = "ECDHE-PSK-CHACHA20-POLY1305"


def require_tls13() -> None:
    """Lets this process agree on TLS 1.3 only; to be called before gRPC is imported."""
    os.environ.setdefault(CIPHERS, PRE_SHARED)
