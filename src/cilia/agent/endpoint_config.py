"""What can be chosen for one endpoint: `GET` and `PATCH /v1/endpoint/{id}/config`.

Source: the models EndpointConfigurationStatus and EndpointConfigurationSpec of the agent's
API, https://docs.cilium.io/en/stable/api/
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from cilia.agent.parts import Parts
from cilia.model.errors import Conflict, InvalidValue
from cilia.state.endpoints import EndpointRow

AUDIT = "PolicyAuditMode"
ON, OFF = "Enabled", "Disabled"
_WORDS = {
    **dict.fromkeys(("enabled", "enable", "true", "on", "1"), True),
    **dict.fromkeys(("disabled", "disable", "false", "off", "0"), False),
}


class EndpointConfig(msgspec.Struct, frozen=True):
    """The body of a PATCH."""

    options: dict[str, str] = {}


def config_json(row: EndpointRow, *, node_audits: bool) -> dict[str, Any]:
    """Returns what holds for an endpoint.

    Args:
        row: The endpoint.
        node_audits: Audit mode was chosen for all endpoints of the node.
    """
    audits = row.audit_wanted or node_audits
    return {"immutable": {}, "realized": {"options": {AUDIT: ON if audits else OFF}}}


def wanted_audit(options: Mapping[str, str], *, node_audits: bool) -> bool | None:
    """Returns whether audit mode is wanted; None when nothing is said of it.

    Raises:
        InvalidValue: An option that there is not, or a value that it cannot have.
        Conflict: It is not the endpoint's to choose.
    """
    for name, value in options.items():
        if name != AUDIT:
            raise InvalidValue(f"endpoint option {name!r}: there is none; write {AUDIT}")
        if value.lower() not in _WORDS:
            raise InvalidValue(f"endpoint option {name}={value!r}: write {ON} or {OFF}")
    if AUDIT not in options:
        return None
    wanted = _WORDS[options[AUDIT].lower()]
    if node_audits and not wanted:
        raise Conflict(
            f"endpoint option {AUDIT}={OFF}: all of this node is in audit mode; "
            "set the agent's policy-audit-mode to false and restart it"
        )
    return wanted


def configure(parts: Parts, row: EndpointRow, chosen: EndpointConfig) -> dict[str, Any]:
    """Does what a PATCH asks for, and returns what holds then.

    Raises:
        CiliaError: It cannot be done; all is as it was.
    """
    node_audits = parts.settings.values.policy_audit_mode
    wanted = wanted_audit(chosen.options, node_audits=node_audits)
    if wanted is not None:
        parts.endpoints.set_audit(row.id, audit=wanted)
    return config_json(parts.tables.endpoints.get(row.id) or row, node_audits=node_audits)
