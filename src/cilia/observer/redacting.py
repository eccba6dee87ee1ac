"""What the settings want hidden."""

from cilia.hubble.redaction import Redaction
from cilia.observer.settings import ObserverSettings
from cilia.runtime.settings import SettingsError


def redaction(settings: ObserverSettings) -> Redaction:
    """What is hidden of requests.

    Raises:
        SettingsError: The settings contradict each other.
    """
    try:
        return Redaction(
            enabled=settings.hubble_redact_enabled,
            http_urlquery=settings.hubble_redact_http_urlquery,
            http_userinfo=settings.hubble_redact_http_userinfo,
            http_headers_allow=settings.hubble_redact_http_headers_allow,
            http_headers_deny=settings.hubble_redact_http_headers_deny,
            kafka_apikey=settings.hubble_redact_kafka_apikey,
        )
    except ValueError as error:
        raise SettingsError(f"hubble-redact-*: {error}") from error
