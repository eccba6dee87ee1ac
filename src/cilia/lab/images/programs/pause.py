"""Waits until it is told to stop: what a container runs that others exec into."""

import signal


def main(arguments: list[str]) -> int:
    """Returns when SIGTERM or SIGINT comes."""
    waited = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    signal.sigwait(waited)
    return 0
