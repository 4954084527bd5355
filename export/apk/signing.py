"""Sign an app by versions 2 and 3 of Android's signature scheme.

A block before the zip archive's directory holds signatures of a digest of everything else. Version
2 is read by Android 7 and 8, version 3 by newer ones. Layout:
https://source.android.com/docs/security/features/apksigning/v2 and .../v3.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable

from export.apk.keys import Key

_MAGIC = b"APK Sig Block 42"
_V2, _V3 = 0x7109871A, 0xF05368C0
_RSA, _ELLIPTIC = 0x0103, 0x0201  # algorithms: RSA (PKCS #1 v1.5) and ECDSA, with SHA-256
_CHUNK = 1 << 20  # bytes that are digested at once
_END = b"PK\x05\x06"  # of the record at the end of a zip archive
# Attribute of version 2 that names the newer version, so that nobody can cut that one out.
_NEWER, _NEWER_VERSION = 0xBEEFF00D, 3
_V3_FROM, _ANY = 28, 0x7FFFFFFF  # API levels that read version 3: Android 9 and newer


def sign(archive: bytes, key: Key) -> bytes:
    """Return a zip archive with the block of signatures before its directory.

    Args:
        archive: a zip archive without a comment.
        key: the key.
    """
    end = len(archive) - 22
    if archive[end : end + 4] != _END:
        raise ValueError("not a zip archive without a comment")
    (start,) = struct.unpack_from("<I", archive, end + 16)
    entries, directory, record = archive[:start], archive[start:end], archive[end:]
    # As if the directory began where the block does: what is signed cannot depend on its own size.
    digest = compute_digest((entries, directory, record))
    pairs = b""
    for number, value in ((_V2, _sign_v2(digest, key)), (_V3, _sign_v3(digest, key))):
        pairs += struct.pack("<QI", 4 + len(value), number) + value
    size = struct.pack("<Q", len(pairs) + 24)
    block = size + pairs + size + _MAGIC
    record = record[:16] + struct.pack("<I", start + len(block)) + record[20:]
    return entries + block + directory + record


def compute_digest(sections: Iterable[bytes]) -> bytes:
    """Return the SHA-256 of the SHA-256 digests of all chunks of the sections."""
    digests = []
    for section in sections:
        for at in range(0, len(section), _CHUNK):
            chunk = section[at : at + _CHUNK]
            digests.append(hashlib.sha256(struct.pack("<BI", 0xA5, len(chunk)) + chunk).digest())
    return hashlib.sha256(struct.pack("<BI", 0x5A, len(digests)) + b"".join(digests)).digest()


def _pack(*parts: bytes) -> bytes:
    """Return the parts one after the other, and their size in bytes before them."""
    whole = b"".join(parts)
    return struct.pack("<I", len(whole)) + whole


def _list_value(value: bytes, key: Key) -> bytes:
    """Return a list of one value, with the number of the algorithm that suits the key."""
    from cryptography.hazmat.primitives.asymmetric import rsa

    algorithm = _RSA if isinstance(key.private, rsa.RSAPrivateKey) else _ELLIPTIC
    return _pack(_pack(struct.pack("<I", algorithm), _pack(value)))


def _list_signature(data: bytes, key: Key) -> bytes:
    """Return a list of one signature of some data."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

    if isinstance(key.private, rsa.RSAPrivateKey):
        return _list_value(key.private.sign(data, padding.PKCS1v15(), hashes.SHA256()), key)
    return _list_value(key.private.sign(data, ec.ECDSA(hashes.SHA256())), key)


def _sign_v2(digest: bytes, key: Key) -> bytes:
    """Return the value of version 2: a list of one signer."""
    newer = _pack(_pack(struct.pack("<II", _NEWER, _NEWER_VERSION)))
    signed = _list_value(digest, key) + _pack(_pack(key.certificate)) + newer
    return _pack(_pack(_pack(signed), _list_signature(signed, key), _pack(key.public)))


def _sign_v3(digest: bytes, key: Key) -> bytes:
    """Return the value of version 3: a list of one signer, with the API levels that it is for."""
    levels, attributes = struct.pack("<II", _V3_FROM, _ANY), _pack()
    signed = _list_value(digest, key) + _pack(_pack(key.certificate)) + levels + attributes
    return _pack(_pack(_pack(signed), levels, _list_signature(signed, key), _pack(key.public)))
