"""What gRPC reads from the environment when it is first imported, which this module does not.

TLS 1.3 and nothing older: gRPC has no word for that in Python, but the ciphers that it offers
in TLS 1.2 can be chosen, and those of 1.3 cannot. So the one that is chosen wants a key known
beforehand: nobody has one, and nobody agrees on 1.2.

Its own messages go past our log, one for every connection that fails: only errors are wanted.
"""

import os

CHOSEN = {
    "GRPC_SSL_CIPHER_SUITES": "ECDHE-PSK-CHACHA20-POLY1305",
    "GRPC_VERBOSITY": "ERROR",
}


def set_grpc_environment() -> None:
    """Chooses what nobody else has chosen; to be called before gRPC is imported."""
    for name, value in CHOSEN.items():
        os.environ.setdefault(name, value)
