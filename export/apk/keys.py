"""Keys that sign apps: read one of the user's, or make one and keep it.

A phone knows who made an app by the certificate that its signatures come with. An update is taken
only with the same certificate, so a file of a key holds both, the private key and the certificate.
"""

from __future__ import annotations

import datetime
import importlib.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from pggan_tf.errors import UserError, shell_path
from pggan_tf.files import atomic_write

ADVICE = (
    "Keep a copy: a phone takes a new version of an app only if the same key signed it. Without it people must remove "
    "the app, with all it has stored, before they can install another version."
)
_BITS = 3072
_YEARS = 50  # phones and shops refuse updates with a certificate that has ended


@dataclass(frozen=True)
class Key:
    """A private key with its certificate."""

    private: Any  # RSA or elliptic-curve key of the package cryptography
    certificate: bytes  # DER
    public: bytes  # the public key, DER


def check_installed() -> None:
    """Raise UserError if the package that signs is missing."""
    if importlib.util.find_spec("cryptography") is None:
        raise UserError('cryptography not installed; it signs the app. Type: pip install "pggan-tf[apk]"')


def find_default() -> Path:
    """Return the file of the key that signs all apps of this user.

    It lies in the folder for settings, not beside an app, with which it could be given away.

    Raises:
        UserError: if the user has no home folder.
    """
    variable, otherwise = ("APPDATA", "~") if sys.platform == "win32" else ("XDG_CONFIG_HOME", "~/.config")
    folder = Path(os.path.expanduser(os.environ.get(variable) or otherwise))
    if folder.parts[0] == "~":
        raise UserError(
            f"this user has no home folder for the key that signs apps. Give --key FILE, or set {variable}."
        )
    return folder / "pggan-tf" / "android-key.pem"


def load_default() -> tuple[Key, Path | None]:
    """Return (the user's key that was made earlier, or else a new one; its file if it is new).

    Raises:
        UserError: if the file cannot be read or written.
    """
    path = find_default()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):  # two exports at a time must not make two keys
            if path.exists():
                return _load_kept(path), None
            made = _make()
            with atomic_write(path) as partial:
                partial.touch(mode=0o600)  # nobody else may read it, from the beginning
                partial.write_bytes(made)
    except OSError as error:
        raise UserError(
            f"{path}: the key that signs apps cannot be kept there ({error.strerror or error}). Give --key FILE."
        ) from None
    return _parse(made, path), path


def _load_kept(path: Path) -> Key:
    """Return the key that was made earlier. Raise UserError if it cannot be used any more."""
    try:
        return load(path)
    except UserError as error:
        why = str(error).removeprefix("--key ").removesuffix(" Without --key, one is made and kept.")
        raise UserError(
            f"{why} It is the key of your apps: restore your copy of it, since phones take no update by another key."
        ) from None


def load(path: Path) -> Key:
    """Read a private key and its certificate from a PEM file.

    Raises:
        UserError: if the file cannot be read, is not PEM, lacks one of both, or has a key that
            Android does not know.
    """
    try:
        return _parse(path.read_bytes(), path)
    except OSError as error:
        raise UserError(
            f"--key {path}: cannot be read ({error.strerror or error}). Without --key, one is made and kept."
        ) from None


def _parse(text: bytes, path: Path) -> Key:
    """Return the key and certificate in the text of a PEM file. path: its path, for messages."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    try:
        private = serialization.load_pem_private_key(text, password=None)
    except TypeError:
        raise UserError(
            f"--key {path}: is locked with a password. Unlock a copy: openssl pkey -in {shell_path(path)} -out unlocked.pem, and add the certificate."
        ) from None
    except Exception as error:  # of several kinds, among them one for algorithms that are not known
        raise UserError(
            f"--key {path}: no private key in PEM ({type(error).__name__}). Expected a file with a line -----BEGIN PRIVATE KEY-----."
        ) from None
    if not isinstance(private, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise UserError(f"--key {path}: a key of a kind that Android does not know. Expected RSA or an elliptic curve.")
    if isinstance(private, rsa.RSAPrivateKey) and private.key_size < 2048:
        raise UserError(f"--key {path}: RSA with {private.key_size} bits. Expected 2048 or more.")
    if isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.name not in ("secp256r1", "secp384r1", "secp521r1"):  # fmt: skip
        raise UserError(f"--key {path}: the curve {private.curve.name}. Expected P-256, P-384 or P-521.")
    try:
        certificate = x509.load_pem_x509_certificate(text)
    except ValueError:
        raise UserError(
            f"--key {path}: has no certificate, by which phones know an app again. Add one: "
            f"openssl req -x509 -new -key {shell_path(path)} -days {_YEARS * 365} -subj /CN=Me >> {shell_path(path)}"
        ) from None
    der, info = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    public = private.public_key().public_bytes(der, info)
    if certificate.public_key().public_bytes(der, info) != public:
        raise UserError(
            f"--key {path}: its certificate is of another key. Expected a file with a key and its own certificate."
        )
    return Key(private, certificate.public_bytes(der), public)


def _make() -> bytes:
    """Return a new private key and its certificate as PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    private = rsa.generate_private_key(65537, _BITS)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "pggan-tf")])
    begin = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)  # a phone's clock may be wrong
    made = (
        x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin.replace(year=begin.year + _YEARS))
        .sign(private, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = private.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return secret + made.public_bytes(pem)
