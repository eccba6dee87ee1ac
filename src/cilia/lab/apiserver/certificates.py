"""The cluster's certificate authority, and what it signs."""

import datetime
import os
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = datetime.timedelta(days=3650)
ADMIN_GROUP = "system:masters"
COMMON_NAME = 64
"""How long a common name may be (RFC 5280, ub-common-name)."""

CA, SERVER, ADMIN = "ca", "server", "admin"
"""Stems of the files in the certificates folder: `<stem>.crt`, `<stem>.key`."""


def _write(
    folder: Path, stem: str, key: ec.EllipticCurvePrivateKey, cert: x509.Certificate
) -> None:
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    _replace(folder / f"{stem}.key", private)
    _replace(folder / f"{stem}.crt", cert.public_bytes(serialization.Encoding.PEM))


def _replace(path: Path, content: bytes) -> None:
    """Writes a file that only its owner reads, at once or not at all."""
    partial = path.with_suffix(path.suffix + ".new")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    partial.replace(path)


def _read(folder: Path, stem: str) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = serialization.load_pem_private_key((folder / f"{stem}.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key, x509.load_pem_x509_certificate((folder / f"{stem}.crt").read_bytes())


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + LIFETIME)
    )


def _name(common: str, organization: str = "") -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common)]
    if organization:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(attributes)


def ensure_authority(folder: Path) -> None:
    """Makes the authority's key and certificate, unless they are there."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if (folder / f"{CA}.crt").exists():
        return
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("cilia-lab-ca")
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
    cert = (
        _builder(name, name, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write(folder, CA, key, cert)


def ensure_server(folder: Path, names: Sequence[str]) -> None:
    """Signs the server's certificate for some names and addresses, unless one is there for them.

    Args:
        folder: Where the authority is.
        names: DNS names and IP addresses under which clients reach the server.
    """
    if (folder / f"{SERVER}.crt").exists():
        _, cert = _read(folder, SERVER)
        alternatives = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        present = {str(entry.value) for entry in alternatives}
        if set(names) <= present:
            return
    key, builder = _leaf(folder, _name("kube-apiserver"), ExtendedKeyUsageOID.SERVER_AUTH)
    builder = builder.add_extension(_alternatives(names), critical=False)
    _write(folder, SERVER, key, builder.sign(_read(folder, CA)[0], hashes.SHA256()))


def ensure_peer(folder: Path, stem: str, names: Sequence[str]) -> None:
    """Signs the certificate of one that serves under some names and calls others too.

    It becomes `<stem>.crt`, unless that is there; its common name is the first name.
    """
    if (folder / f"{stem}.crt").exists():
        return
    both = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
    key, builder = _leaf(folder, _name(names[0][:COMMON_NAME]), *both)
    builder = builder.add_extension(_alternatives(names), critical=False)
    _write(folder, stem, key, builder.sign(_read(folder, CA)[0], hashes.SHA256()))


def _alternatives(names: Sequence[str]) -> x509.SubjectAlternativeName:
    entries: list[x509.GeneralName] = []
    for name in dict.fromkeys(names):
        try:
            entries.append(x509.IPAddress(ip_address(name)))
        except ValueError:
            entries.append(x509.DNSName(name))
    return x509.SubjectAlternativeName(entries)


def ensure_client(folder: Path, stem: str, user: str, group: str) -> None:
    """Signs a client certificate (CN user, O group) as `<stem>.crt`, unless it is there."""
    if (folder / f"{stem}.crt").exists():
        return
    key, builder = _leaf(folder, _name(user, group), ExtendedKeyUsageOID.CLIENT_AUTH)
    _write(folder, stem, key, builder.sign(_read(folder, CA)[0], hashes.SHA256()))


def _leaf(
    folder: Path, subject: x509.Name, *usages: x509.ObjectIdentifier
) -> tuple[ec.EllipticCurvePrivateKey, x509.CertificateBuilder]:
    _, authority = _read(folder, CA)
    key = ec.generate_private_key(ec.SECP256R1())
    public = authority.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    builder = (
        _builder(subject, authority.subject, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
    )
    return key, builder


def ensure_certificates(folder: Path, names: Sequence[str]) -> None:
    """Makes what is missing: authority, server and administrator certificates.

    Args:
        folder: Where they lie, readable by its owner only.
        names: DNS names and addresses of the server.
    """
    ensure_authority(folder)
    ensure_server(folder, names)
    ensure_client(folder, ADMIN, "kubernetes-admin", ADMIN_GROUP)
