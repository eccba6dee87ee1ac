"""`--tls-allow-insecure`: the certificate that the server shows is the one that is trusted.

gRPC for Python cannot go without verification, so the certificate is fetched first and then
believed for this one connection: whoever stands in between is believed just as well.
"""

import socket
import ssl

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cilia.cli.errors import ClientError


def shown_certificate(
    address: str, timeout_s: float, own: tuple[str, str] | None
) -> tuple[bytes, str]:
    """The server's certificate in PEM, and a name that it is made out to.

    Args:
        address: `host:port`.
        timeout_s: For the connection.
        own: Files of our certificate and key, for servers that want one.

    Raises:
        ClientError: nobody there, no TLS, or a certificate without a name.
    """
    host, _, port = address.rpartition(":")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if own:
        context.load_cert_chain(*own)
    try:
        with (
            socket.create_connection((host.strip("[]"), int(port)), timeout_s) as plain,
            context.wrap_socket(plain, server_hostname=host.strip("[]")) as secured,
        ):
            shown = secured.getpeercert(binary_form=True)
    except (OSError, ValueError) as error:
        raise ClientError(
            f"cannot get the certificate of {address}: {error}", "does it speak TLS?"
        ) from None
    certificate = x509.load_der_x509_certificate(shown or b"")
    return certificate.public_bytes(Encoding.PEM), _name(certificate, address)


def _name(certificate: x509.Certificate, address: str) -> str:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    found = names.get_values_for_type(x509.DNSName)
    if found:
        return str(found[0]).replace("*", "any", 1)
    if addresses := names.get_values_for_type(x509.IPAddress):
        return str(addresses[0])
    raise ClientError(
        f"the certificate of {address} is made out to nobody", "it needs a subjectAltName"
    )
