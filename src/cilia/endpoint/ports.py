"""What endpoint asks of other rooms."""

import ipaddress
from typing import Protocol

from cilia.model.labels import LabelSet


class AddressPair(Protocol):
    """A pod's addresses."""

    @property
    def v4(self) -> ipaddress.IPv4Address | None:
        """Its IPv4 address."""
        ...

    @property
    def v6(self) -> ipaddress.IPv6Address | None:
        """Its IPv6 address."""
        ...


class Addresses(Protocol):
    """Addresses for pods; ipam's HostScope is one."""

    def allocate(self, owner: str) -> AddressPair:
        """Returns a free address of each family; raises when there is none."""
        ...

    def claim(
        self, v4: ipaddress.IPv4Address | None, v6: ipaddress.IPv6Address | None, owner: str
    ) -> None:
        """Takes addresses that a restored pod has."""
        ...

    def release(self, v4: ipaddress.IPv4Address | None, v6: ipaddress.IPv6Address | None) -> None:
        """Gives addresses back."""
        ...


class Identities(Protocol):
    """Numbers for label sets; identity's ClusterIdentities is one."""

    async def allocate(self, labels: LabelSet) -> int:
        """Returns the number, and holds it until `release`."""
        ...

    def restore(self, labels: LabelSet, number: int) -> None:
        """Holds a number that an endpoint had before a restart."""
        ...

    def release(self, labels: LabelSet) -> None:
        """Lets go of one hold."""
        ...


class Assignment(Protocol):
    """What policy says about one endpoint."""

    @property
    def policy(self) -> int:
        """Which rows of the policy map are its own."""
        ...

    @property
    def generation(self) -> int:
        """Revision of the policies that they enforce."""
        ...

    @property
    def ingress_enforced(self) -> bool:
        """False: every ingress is allowed."""
        ...

    @property
    def egress_enforced(self) -> bool:
        """False: every egress is allowed."""
        ...

    @property
    def audit(self) -> bool:
        """What policy would drop passes, and is reported."""
        ...
