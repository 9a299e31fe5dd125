"""SASL_SSL with SCRAM-SHA-512 for embedded brokers: certificates and settings that refuse by default, as in production."""
from __future__ import annotations

import base64
import datetime
import hashlib
import ipaddress
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ITERATIONS: Final = 8192
"""Of SCRAM; Kafka takes 4096 to 16384."""
VALID: Final = datetime.timedelta(days=30)
"""Of the certificates: they are for one machine and one run, a kept directory makes new ones."""
BROKER_NAME: Final = "kafka"


class Secured(msgspec.Struct, frozen=True, kw_only=True):
    """What secured brokers and their clients need."""

    conf: dict[str, Any]
    """For `Broker(conf=…)`."""
    scram: tuple[str, ...]
    """For `Broker(scram=…)`: the administrator."""
    ca_file: Path
    """Clients trust this."""
    username: str
    password: str


def scram(user: str, password: str) -> str:
    """Argument that makes a user while formatting; salted here, so no password is on a command line."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ITERATIONS)
    return f'SCRAM-SHA-512=[name={user},iterations={ITERATIONS},salt="{_base64(salt)}",saltedpassword="{_base64(salted)}"]'


def secure(directory: Path, *, username: str = "admin", password: str | None = None, conf: Mapping[str, Any] | None = None) -> Secured:
    """Certificates into `directory` and the settings of brokers that use them: one super user, no access for others without an ACL."""
    directory.mkdir(parents=True, exist_ok=True)
    password = password or secrets.token_urlsafe(18)
    ca_file, server_file = directory.resolve() / "ca.pem", directory.resolve() / "server.pem"
    _certificates(ca_file, server_file)
    return Secured(scram=(scram(username, password),), ca_file=ca_file, username=username, password=password, conf={
        "listener.security.protocol.map": "CLIENT:SASL_SSL,CONTROLLER:SSL",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512", "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
        "listener.name.client.scram-sha-512.sasl.jaas.config":
            f'org.apache.kafka.common.security.scram.ScramLoginModule required username="{username}" password="{password}";',
        "ssl.keystore.type": "PEM", "ssl.keystore.location": server_file, "ssl.truststore.type": "PEM", "ssl.truststore.location": ca_file,
        "listener.name.controller.ssl.client.auth": "required",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "false", "super.users": f"User:{username};User:CN={BROKER_NAME}",
        **(conf or {}),
    })


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(subject: str, issuer: str, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (x509.CertificateBuilder().subject_name(_name(subject)).issuer_name(_name(issuer)).public_key(key)
            .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + VALID))


def _certificates(ca_file: Path, server_file: Path) -> None:
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    usage = x509.KeyUsage(digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
                          key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False)
    ca = (_builder("railclear embedded", "railclear embedded", ca_key.public_key())
          .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True).add_extension(usage, critical=True).sign(ca_key, hashes.SHA256()))
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    server = (_builder(BROKER_NAME, "railclear embedded", key.public_key()).add_extension(names, critical=False)
              .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
              .sign(ca_key, hashes.SHA256()))
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    ca_file.write_bytes(ca.public_bytes(pem))
    server_file.touch(mode=0o600)
    server_file.write_bytes(private + server.public_bytes(pem) + ca.public_bytes(pem))  # Kafka wants this order: key, certificate, chain
