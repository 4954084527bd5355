"""Signed statements about how pictures and videos were made: Content Credentials of the C2PA.

A statement (a manifest) lies in the file. It names what was done, by the same vocabulary of the
IPTC as a mark (`marks`), and is signed with somebody's key: who changes a pixel breaks it. The
library c2pa-python writes and reads it. Nothing is asked of a network: there is no timestamp.
"""

from __future__ import annotations

import importlib.util
import io
import json
import re
from pathlib import Path
from typing import BinaryIO

from pggan_tf.data import marks
from pggan_tf.errors import UserError
from pggan_tf.files import atomic_write
from pggan_tf.version import __version__

PACKAGE = "c2pa"
_MAKER = {"name": "pggan-tf", "version": __version__}
# Types of the files that can hold a statement, of those that this project writes.
TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".gif": "image/gif",
    ".mp4": "video/mp4",
    ".m4v": "video/x-m4v",
    ".mov": "video/quicktime",
}
# No picture of the picture, which would be larger than it; and no question to any server.
_SETTINGS = {
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
}
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\s*", re.DOTALL)


def open_signer(key: str | Path | None, mark: bool = True) -> Signer | None:
    """Return the signer of a key's file; None: nothing is signed.

    Raise UserError if the key cannot sign, or if pictures are to say nothing of themselves.

    Args:
        key: see `Signer`.
        mark: whether pictures get their marks.
    """
    if key is None:
        return None
    if not mark:
        raise UserError("--sign and --no-mark: a signature says what made a picture. Give one of them.")
    return Signer(key)


class Signer:
    """A key that signs statements about files.

    Args:
        key: PEM file with a private key, its certificate and those of its issuers, in this order; the
            key may also stand behind them.

    Raises:
        UserError: if the package that signs is missing, or the key cannot sign.
    """

    def __init__(self, key: str | Path):
        if importlib.util.find_spec(PACKAGE) is None:
            raise UserError(f'--sign {key}: {PACKAGE}-python is not installed. Type: pip install "pggan-tf[sign]"')
        self._name = str(key)
        self._algorithm, self._private, self._chain = _read_key(Path(key))
        self._try()

    def check(self, path: str | Path) -> None:
        """Raise UserError if a file of this name cannot hold a statement."""
        if Path(path).suffix.lower() not in TYPES:
            raise UserError(f"--sign: {path} cannot be signed. Choose a name that ends in {', '.join(TYPES)}.")

    def sign(self, path: Path, source_type: str, photo: Path | None = None) -> None:
        """Add a signed statement to a file, completely or not at all.

        Args:
            path: the file.
            source_type: how it came about, a concept of the IPTC's vocabulary, see `marks`.
            photo: file that it was made from; its own statement, if it has one, is kept. None: it
                was made from nothing.
        """
        kind = TYPES[path.suffix.lower()]
        with atomic_write(path) as partial, path.open("rb") as unsigned, partial.open("w+b") as signed:
            self._write(unsigned, signed, kind, source_type, path.name, photo)

    def _write(
        self, unsigned: BinaryIO, signed: BinaryIO, kind: str, source_type: str, title: str, photo: Path | None = None
    ) -> None:
        """Copy a file with a signed statement. Raise UserError if it cannot be signed.

        Args:
            unsigned: the file.
            signed: what is written, which has to be readable, too.
            kind: one of TYPES.
            source_type: see `sign`.
            title: name of the file.
            photo: see `sign`.
        """
        import c2pa

        how = c2pa.C2paSignerInfo(self._algorithm, self._chain, self._private, None)
        try:
            with c2pa.Context.from_dict(_SETTINGS) as context, c2pa.Signer.from_info(how) as signer:
                if photo:
                    builder = _state_edited(context, source_type, title, photo)
                else:
                    builder = c2pa.Builder(_state([_describe("c2pa.created", source_type)], title), context)
                with builder as made:
                    made.sign(signer, kind, unsigned, signed)
        except c2pa.C2paError as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"--sign {self._name}: no signature could be made ({reason}). Expected a certificate for signing by "
                "another one, with extendedKeyUsage emailProtection: see Signed pictures in the docs."
            ) from None

    def _try(self) -> None:
        """Raise UserError if the key cannot sign a picture of one pixel."""
        from PIL import Image

        picture = io.BytesIO()
        Image.new("L", (1, 1)).save(picture, "PNG")
        picture.seek(0)
        self._write(picture, io.BytesIO(), TYPES[".png"], marks.GENERATED, "try")


def _describe(action: str, source_type: str) -> dict:
    """Return an action of a statement. For the source type, see `Signer.sign`."""
    return {"action": action, "softwareAgent": _MAKER, "digitalSourceType": source_type}


def _state(actions: list[dict], title: str) -> dict:
    """Return a statement for `c2pa.Builder`. title: name of the file."""
    said = {"label": "c2pa.actions.v2", "data": {"actions": actions}}
    return {"claim_generator_info": [_MAKER], "title": title, "assertions": [said]}


def _state_edited(context, source_type: str, title: str, photo: Path):
    """Return a `c2pa.Builder` with the statement of a file that was made from a photo.

    Of a photo that the library cannot read, the statement has the name alone. For the arguments, see
    `Signer._write`.
    """
    import c2pa

    opened = {"action": "c2pa.opened", "parameters": {"ingredientIds": ["photo"]}}
    state = _state([opened, _describe("c2pa.edited", source_type)], title)
    about = {"title": photo.name, "relationship": "parentOf", "label": "photo"}
    if kind := TYPES.get(photo.suffix.lower()):
        builder = c2pa.Builder(state, context)
        try:
            with photo.open("rb") as file:
                builder.add_ingredient(about, kind, file)
            return builder
        except c2pa.C2paError:
            builder.close()
    return c2pa.Builder(state | {"ingredients": [about]}, context)


def read(path: str | Path) -> dict | None:
    """Return what the library reads of a file's statements, and whether they hold.

    None: the file has none, or is no file that can hold one, such as one that was cut off.
    `validation_state` of the result is Trusted, Valid (signed, by somebody who is not known here)
    or Invalid; see the documentation of c2pa-python.
    """
    import c2pa

    path = Path(path)
    if (kind := TYPES.get(path.suffix.lower())) is None:
        return None
    try:
        with (
            c2pa.Context.from_dict(_SETTINGS) as context,
            path.open("rb") as file,
            c2pa.Reader(kind, file, context=context) as reader,
        ):
            return json.loads(reader.json())
    except c2pa.C2paError:
        return None


def _read_key(path: Path) -> tuple[bytes, bytes, bytes]:
    """Return (name of the algorithm, private key, certificates) of a PEM file, for c2pa-python.

    Raise UserError if there is no key that it can use.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    expected = "Expected a PEM file with a private key without a password, its certificate and its issuer's."
    try:
        data = path.read_bytes()
        private = serialization.load_pem_private_key(data, None)
    except OSError as error:
        raise UserError(f"--sign {path}: {error.strerror or error}. {expected}") from None
    except (ValueError, TypeError):
        raise UserError(f"--sign {path}: holds no private key that can be read. {expected}") from None
    curves = {"secp256r1": b"es256", "secp384r1": b"es384", "secp521r1": b"es512"}
    if isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.name in curves:
        algorithm = curves[private.curve.name]
    elif isinstance(private, rsa.RSAPrivateKey):
        algorithm = b"ps256"
    elif isinstance(private, ed25519.Ed25519PrivateKey):
        algorithm = b"ed25519"
    else:
        raise UserError(f"--sign {path}: a key of another kind. Take RSA, Ed25519 or the curves P-256, P-384, P-521.")
    # Everything in it is written into the files, so that nothing else of the PEM file may be there.
    chain = b"".join(_CERTIFICATE.findall(data))
    if not chain:
        raise UserError(f"--sign {path}: holds no certificate. {expected}")
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return algorithm, private.private_bytes(*form), chain
