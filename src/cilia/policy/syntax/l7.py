"""What a toPorts entry asks of a proxy: checked for shape, and not supported yet."""

import re

from cilia.model.errors import NotSupported
from cilia.policy.syntax.fields import Field

_RULES = ("http", "kafka", "dns", "l7proto", "l7")
_HTTP = ("path", "method", "host", "headers", "headerMatches")
_HEADER_MATCH = ("name", "value", "secret", "mismatch")
_KAFKA = ("role", "apiKey", "apiVersion", "clientID", "topic")
_TLS = ("secret", "trustedCA", "certificate", "privateKey")
_NAME = re.compile(r"[-a-zA-Z0-9_]+([.][-a-zA-Z0-9_]+)*[.]?")
_PATTERN = re.compile(r"[-a-zA-Z0-9_*]+([.][-a-zA-Z0-9_*]+)*[.]?")
_SERVER_NAME = re.compile(r"(\*{1,2}\.)?[-a-zA-Z0-9_]+(\.[-a-zA-Z0-9_]+)*")
_DNS_LENGTH = 255


def check_l7(members: dict[str, Field], *, egress: bool) -> list[NotSupported]:
    """Checks the L7 members of a toPorts item; what is there is not supported yet."""
    found = []
    if "rules" in members and _check_rules(members["rules"], egress=egress):
        found.append(members["rules"].not_supported("L7 rules are"))
    for name in ("terminatingTLS", "originatingTLS"):
        if name in members:
            _check_tls(members[name])
            found.append(members[name].not_supported("TLS inspection is"))
    if "serverNames" in members:
        _check_server_names(members["serverNames"])
        found.append(members["serverNames"].not_supported("server name rules are"))
    if "listener" in members:
        _check_listener(members["listener"], egress=egress)
        found.append(members["listener"].not_supported("listeners are"))
    return found


def check_fqdns(field: Field) -> None:
    """Checks a list of {matchName | matchPattern}."""
    for item in field.items():
        members = item.mapping(("matchName", "matchPattern"))
        if len(members) != 1:
            item.refuse("needs exactly one of matchName, matchPattern")
        for name, pattern in (("matchName", _NAME), ("matchPattern", _PATTERN)):
            if name in members:
                text = members[name].text()
                if len(text) > _DNS_LENGTH or not pattern.fullmatch(text):
                    members[name].refuse("is not a DNS name", "write letters, digits, - _ and dots")


def _check_rules(field: Field, *, egress: bool) -> bool:
    members = field.mapping(_RULES)
    kinds = [name for name in ("http", "kafka", "dns", "l7proto") if name in members]
    if len(kinds) > 1:
        field.refuse(f"mixes {' and '.join(kinds)}", "write one kind an entry")
    if "l7" in members and "l7proto" not in members:
        members["l7"].refuse("has no l7proto beside it", "name the parser in l7proto")
    if "http" in members:
        _check_http(members["http"])
    if "kafka" in members:
        for item in members["kafka"].items():
            item.mapping(_KAFKA)
    if "dns" in members:
        if not egress:
            members["dns"].refuse("is in an ingress rule", "DNS rules are for egress only")
        check_fqdns(members["dns"])
    if "l7proto" in members:
        members["l7proto"].text()
        for item in members["l7"].items() if "l7" in members else []:
            if "" in item.mapping():
                item.refuse("has an empty key")
    return bool(kinds)


def _check_http(field: Field) -> None:
    for item in field.items():
        members = item.mapping(_HTTP)
        for name in ("path", "method", "host"):
            if name in members:
                _check_regex(members[name])
        for header in members["headers"].items() if "headers" in members else []:
            header.text()
        for match in members["headerMatches"].items() if "headerMatches" in members else []:
            parts = match.mapping(_HEADER_MATCH)
            if "name" not in parts:
                match.refuse("has no name")
            if "mismatch" in parts:
                parts["mismatch"].choice(("LOG", "ADD", "DELETE", "REPLACE"))


def _check_regex(field: Field) -> None:
    try:
        re.compile(field.text())
    except (re.error, RecursionError, OverflowError) as error:
        field.refuse(f"is not a regular expression: {error}")


def _check_tls(field: Field) -> None:
    members = field.mapping(_TLS)
    if "secret" not in members:
        field.refuse("has no secret", "name the secret that holds certificate and key")
    secret = members["secret"].mapping(("name", "namespace"))
    if "name" not in secret:
        members["secret"].refuse("has no name")


def _check_server_names(field: Field) -> None:
    items = field.items()
    if not items:
        field.refuse("is empty", "name a server, or leave it out")
    for item in items:
        if not _SERVER_NAME.fullmatch(item.text()):
            item.refuse("is not a server name", "write name, *.name or **.name")


def _check_listener(field: Field, *, egress: bool) -> None:
    if not egress:
        field.refuse("is in an ingress rule", "listeners are for egress only")
    members = field.mapping(("envoyConfig", "name", "priority"))
    for name in ("envoyConfig", "name"):
        if name not in members:
            field.refuse(f"has no {name}")
    members["name"].text()
    config = members["envoyConfig"].mapping(("kind", "name"))
    if "name" not in config:
        members["envoyConfig"].refuse("has no name")
    if "priority" in members:
        members["priority"].number(1, 100)
