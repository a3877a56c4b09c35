"""A certificate that lives as long as the daemon, and the two TLS settings made from it.

Its only meaning is its hash, which travels over an authenticated stream; no name in it is checked.
"""

from __future__ import annotations

import hashlib
import secrets
import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat


class Identity:
    """A fresh key and self-signed certificate. ``sha256`` is the hash of the certificate's DER form."""

    def __init__(self) -> None:
        """Takes some milliseconds."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _self_signed(key)
        self.sha256 = certificate.fingerprint(hashes.SHA256())
        self.context = _server_context(key, certificate)


@cache
def client_context() -> ssl.SSLContext:
    """TLS 1.3 that accepts any certificate: the caller compares its hash before it says anything."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def certificate_hash(tls: ssl.SSLSocket) -> bytes:
    """SHA-256 of the certificate the other end has proven to own."""
    return hashlib.sha256(tls.getpeercert(binary_form=True) or b"").digest()


def _self_signed(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=3650))
    return builder.sign(key, hashes.SHA256())


def _server_context(key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # Session tickets would lie unread at a client that only sends, and turn its close into a reset.
    context.num_tickets = 0
    # ssl loads keys from files only: this one is encrypted and gone before this function returns.
    password = secrets.token_hex(16)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "key.pem")
        path.write_bytes(
            certificate.public_bytes(Encoding.PEM)
            + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password.encode()))
        )
        context.load_cert_chain(path, password=password)
    return context
