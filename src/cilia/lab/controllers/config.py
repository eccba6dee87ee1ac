"""What the controllers are told when they start: one JSON file."""

import msgspec


class ControllersConfig(msgspec.Struct, frozen=True):
    """What the controllers need to know."""

    kubeconfig: str
    """Path of the kubeconfig with which they act."""
