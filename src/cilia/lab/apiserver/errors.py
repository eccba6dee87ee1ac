"""API errors as Kubernetes' clients know them: one `metav1.Status` each.

Source:
    https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/
"""

from http import HTTPStatus
from typing import Any

import msgspec

Json = dict[str, Any]
"""One decoded JSON object."""


class Cause(msgspec.Struct, frozen=True):
    """One field of a request that the server refuses."""

    reason: str
    """`FieldValueRequired`, `FieldValueInvalid`, `FieldValueNotSupported` …"""
    message: str
    field: str

    @property
    def text(self) -> str:
        """`spec.ports: Required value`, as kubectl prints it."""
        return f"{self.field}: {self.message}"


class StatusError(Exception):
    """A request that is answered with a failure `Status`.

    Attributes:
        code: HTTP status.
        reason: Machine-readable word, such as `NotFound`.
        message: What kubectl prints.
        details: `name`, `group`, `kind`, `causes` … or nothing.
    """

    def __init__(self, code: int, reason: str, message: str, details: Json | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details or {}

    def to_status(self) -> Json:
        """The body of the answer."""
        status: Json = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
        }
        if self.details:
            status["details"] = self.details
        return status | {"code": self.code}


def qualified(group: str, plural: str) -> str:
    """`deployments.apps`, or `pods` in the core group."""
    return f"{plural}.{group}" if group else plural


def _details(group: str, plural: str, name: str) -> Json:
    details = {"name": name, "group": group, "kind": plural}
    return {key: value for key, value in details.items() if value}


def not_found(group: str, plural: str, name: str) -> StatusError:
    """The object does not exist."""
    message = f'{qualified(group, plural)} "{name}" not found'
    return StatusError(404, "NotFound", message, _details(group, plural, name))


def no_resource() -> StatusError:
    """The path names no resource that this server knows."""
    message = "the server could not find the requested resource"
    return StatusError(404, "NotFound", message)


def already_exists(group: str, plural: str, name: str) -> StatusError:
    """An object of that name is there already."""
    message = f'{qualified(group, plural)} "{name}" already exists'
    return StatusError(409, "AlreadyExists", message, _details(group, plural, name))


def conflict(group: str, plural: str, name: str, why: str) -> StatusError:
    """The object changed since the client read it, or a precondition fails."""
    message = f'Operation cannot be fulfilled on {qualified(group, plural)} "{name}": {why}'
    return StatusError(409, "Conflict", message, _details(group, plural, name))


MODIFIED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)
"""The reason in a conflict of resource versions."""


def bad_request(message: str) -> StatusError:
    """The request cannot be understood."""
    return StatusError(400, "BadRequest", message)


def forbidden(
    group: str, plural: str, name: str, why: str, causes: list[Json] | None = None
) -> StatusError:
    """The request is understood and refused."""
    message = f'{qualified(group, plural)} "{name}" is forbidden: {why}'
    details = _details(group, plural, name)
    if causes:
        details["causes"] = causes
    return StatusError(403, "Forbidden", message, details)


def invalid(group: str, kind: str, name: str, causes: list[Cause]) -> StatusError:
    """The object breaks the rules of its kind; every broken rule is a cause."""
    texts = list(dict.fromkeys(cause.text for cause in causes))
    joined = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    message = f'{qualified(group, kind)} "{name}" is invalid: {joined}'
    details = _details(group, kind, name)
    details["causes"] = [msgspec.to_builtins(cause) for cause in causes]
    return StatusError(422, "Invalid", message, details)


def method_not_allowed() -> StatusError:
    """The resource exists, but not for this verb."""
    message = "the server does not allow this method on the requested resource"
    return StatusError(405, "MethodNotAllowed", message)


def unsupported_media(kind: str, accepted: str) -> StatusError:
    """The body is of a type that the server cannot read."""
    message = (
        "the body of the request was in an unknown format - accepted media types include: "
        f"{accepted} (got {kind})"
    )
    return StatusError(415, "UnsupportedMediaType", message)


def too_large(limit_bytes: int) -> StatusError:
    """The body is larger than the server reads."""
    message = f"Request entity too large: limit is {limit_bytes}"
    return StatusError(413, "RequestEntityTooLarge", message)


def expired(oldest: int, asked: int) -> StatusError:
    """The client asks for a revision that is no longer kept."""
    return StatusError(410, "Expired", f"too old resource version: {asked} ({oldest})")


def unauthorized() -> StatusError:
    """The caller shows neither a certificate of this cluster nor a known token."""
    return StatusError(401, "Unauthorized", "Unauthorized")


def unavailable(message: str) -> StatusError:
    """Something behind the server (a kubelet) does not answer."""
    return StatusError(HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailable", message)


def internal(message: str) -> StatusError:
    """A defect of the server itself."""
    message = f"Internal error occurred: {message}"
    return StatusError(HTTPStatus.INTERNAL_SERVER_ERROR, "InternalError", message)
