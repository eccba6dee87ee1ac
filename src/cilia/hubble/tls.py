"""Certificates for gRPC on both sides, read from disk again when they change."""

import logging
import ssl
from collections.abc import Sequence
from pathlib import Path

import grpc
import msgspec

from cilia.model.errors import CiliaError

log = logging.getLogger(__name__)

DOMAIN = "hubble-grpc.cilium.io"
RELAY_DOMAIN = "hubble-relay.cilium.io"

Stamp = tuple[tuple[int, int, int], ...]


class CertificateError(CiliaError):
    """A certificate, its key or an authority cannot be used."""


class TlsFiles(msgspec.Struct, frozen=True):
    """Where one side's certificates lie; all PEM."""

    certificate: str = ""
    key: str = ""
    authorities: tuple[str, ...] = ()
    """Who may have signed the other side's certificate."""

    def paths(self) -> list[Path]:
        """Every file."""
        return [Path(name) for name in (self.certificate, self.key, *self.authorities) if name]

    def stamp(self) -> Stamp:
        """What changes when one of the files does.

        Raises:
            CertificateError: One cannot be read.
        """
        try:
            found = [path.stat() for path in self.paths()]
        except OSError as error:
            raise _unreadable(error) from error
        return tuple((one.st_ino, one.st_size, one.st_mtime_ns) for one in found)


class Pems(msgspec.Struct, frozen=True):
    """The files' contents."""

    certificate: bytes | None
    key: bytes | None
    authorities: bytes | None


def read_pems(files: TlsFiles) -> Pems:
    """The contents, checked as far as one side can.

    Raises:
        CertificateError: A file is missing or no PEM, or key and certificate do not belong
            together.
    """
    checker = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        if files.certificate or files.key:
            Path(files.certificate).read_bytes()  # a missing file has its name in the error
            Path(files.key).read_bytes()
            checker.load_cert_chain(files.certificate, files.key)
        for authority in files.authorities:
            checker.load_verify_locations(cadata=Path(authority).read_text())
        return Pems(
            Path(files.certificate).read_bytes() if files.certificate else None,
            Path(files.key).read_bytes() if files.key else None,
            b"\n".join(Path(name).read_bytes() for name in files.authorities) or None,
        )
    except ssl.SSLError as error:  # is an OSError, so it comes first
        names = ", ".join(str(path) for path in files.paths())
        raise CertificateError(
            f"certificates {names}: {error.reason or error}; each must be PEM, and the key "
            "must be the certificate's"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(error) from error


def _unreadable(error: Exception) -> CertificateError:
    return CertificateError(f"certificates: {error}; see the tls settings")


class ServerCertificates:
    """A server's credentials; a new file counts from the next connection on.

    With authorities, a client without a certificate of theirs is refused. A file that
    cannot be used is reported, and what was read before stays in force.

    Args:
        files: The server's certificate and key; the clients' authorities.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._stamp: Stamp = ()
        self._refused: Stamp = ()

    def credentials(self) -> grpc.ServerCredentials:
        """What a port wants.

        Raises:
            CertificateError: The files cannot be used now.
        """
        return grpc.dynamic_ssl_server_credentials(
            self._read(),
            self._fetch,  # type: ignore[arg-type]  # may say None: nothing new
            require_client_authentication=bool(self._files.authorities),
        )

    def _read(self) -> grpc.ServerCertificateConfiguration:
        if not (self._files.certificate and self._files.key):
            raise CertificateError(
                "TLS wants a certificate and its key; set both, or disable TLS for this port"
            )
        stamp = self._files.stamp()
        pems = read_pems(self._files)
        assert pems.key is not None, "it is set"
        assert pems.certificate is not None, "it is set"
        self._stamp = stamp
        return grpc.ssl_server_certificate_configuration(
            [(pems.key, pems.certificate)], pems.authorities
        )

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """New certificates, if there are any; called for each connection, by a foreign thread."""
        try:
            stamp = self._files.stamp()
            if stamp in (self._stamp, self._refused):
                return None
            self._refused = stamp
            fresh = self._read()
        except CertificateError as error:
            log.warning("certificates kept as they were", extra={"error": str(error)})
            return None
        log.info("certificates read again", extra={"certificate": self._files.certificate})
        return fresh


def channel_credentials(files: TlsFiles) -> grpc.ChannelCredentials:
    """A client's credentials, as the files are now.

    Raises:
        CertificateError: They cannot be used.
    """
    pems = read_pems(files)
    return grpc.ssl_channel_credentials(pems.authorities, pems.key, pems.certificate)


def node_server_name(node: str, cluster: str) -> str:
    """The name in the certificate of a node's observer.

    >>> node_server_name("ip-10.eu", "")
    'ip-10-eu.default.hubble-grpc.cilium.io'
    """
    return f"{_label(node)}.{_label(cluster or 'default')}.{DOMAIN}"


def _label(name: str) -> str:
    return name.replace(".", "-")


def dial_options(server_name: str) -> Sequence[tuple[str, str]]:
    """gRPC options that expect a certificate for this name, not for the address dialled."""
    if not server_name:
        return ()
    return (
        ("grpc.ssl_target_name_override", server_name),
        ("grpc.default_authority", server_name),
    )
