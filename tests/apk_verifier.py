"""Verify an app's signatures as a phone does, by the description of the scheme alone: it shares no code with the writer.

https://source.android.com/docs/security/features/apksigning/v2#verification and .../v3
"""

from __future__ import annotations

import hashlib

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding

V2, V3 = 0x7109871A, 0xF05368C0


class Refused(Exception):
    pass


def number(data: bytes) -> int:
    return int.from_bytes(data, "little")


def items(data: bytes) -> list[bytes]:
    """The values that follow each other, each after its length in 4 bytes."""
    out = []
    while data:
        size = number(data[:4])
        if len(data) < 4 + size:
            raise Refused("a length beyond the end")
        out.append(data[4 : 4 + size])
        data = data[4 + size :]
    return out


def blocks(apk: bytes) -> tuple[dict[int, bytes], int, int]:
    """({number: value} of the block of signatures, its place, the directory's place)."""
    if apk[-22:-18] != b"PK\5\6":
        raise Refused("no end of a zip archive")
    directory = number(apk[-6:-2])
    if apk[directory - 16 : directory] != b"APK Sig Block 42":
        raise Refused("no block of signatures")
    size = number(apk[directory - 24 : directory - 16])
    start = directory - size - 8
    if start < 0 or number(apk[start : start + 8]) != size:
        raise Refused("two sizes of the block")
    pairs, rest = {}, apk[start + 8 : directory - 24]
    while rest:
        length = number(rest[:8])
        pairs[number(rest[8:12])] = rest[12 : 8 + length]
        rest = rest[8 + length :]
    return pairs, start, directory


def content_digest(apk: bytes, start: int, directory: int) -> bytes:
    end = bytearray(apk[-22:])
    end[16:20] = start.to_bytes(4, "little")
    hashed = []
    for part in (apk[:start], apk[directory:-22], bytes(end)):
        while part:
            piece, part = part[: 1 << 20], part[1 << 20 :]
            hashed.append(hashlib.sha256(b"\xa5" + len(piece).to_bytes(4, "little") + piece).digest())
    return hashlib.sha256(b"\x5a" + len(hashed).to_bytes(4, "little") + b"".join(hashed)).digest()


def verify(apk: bytes, scheme: int) -> bytes:
    """The certificate (DER) of the one who signed; Refused: the app was changed, or not signed so."""
    pairs, start, directory = blocks(apk)
    if scheme not in pairs:
        raise Refused("not signed by this scheme")
    try:
        (signers,) = items(pairs[scheme])
        (signer,) = items(signers)
        size = 4 + number(signer[:4])
        data, rest = signer[4:size], signer[size:]
        if scheme == V3:
            if rest[:8] != (28).to_bytes(4, "little") + b"\xff\xff\xff\x7f":
                raise Refused("other levels")
            rest = rest[8:]
        signatures, public = items(rest)
        ((algorithm, signature),) = [(number(s[:4]), items(s[4:])[0]) for s in items(signatures)]
        key = serialization.load_der_public_key(public)
        if algorithm == 0x0103:
            key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
        elif algorithm == 0x0201:
            key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
        else:
            raise Refused("another algorithm")
        first = 4 + number(data[:4])
        digests, data = data[4:first], data[first:]
        first = 4 + number(data[:4])
        (certificate,), data = items(data[4:first]), data[first:]
        ((named, digest),) = [(number(d[:4]), items(d[4:])[0]) for d in items(digests)]
        if scheme == V3 and data != (28).to_bytes(4, "little") + b"\xff\xff\xff\x7f" + bytes(4):
            raise Refused("other levels, or attributes")
        if scheme == V2 and V3 not in pairs and b"\x0d\xf0\xef\xbe\x03\0\0\0" in data:
            raise Refused("version 3 was cut out")
        info = serialization.PublicFormat.SubjectPublicKeyInfo
        of = x509.load_der_x509_certificate(certificate).public_key().public_bytes(serialization.Encoding.DER, info)
    except (InvalidSignature, ValueError, IndexError, TypeError) as error:
        raise Refused(repr(error)) from error
    if of != public or named != algorithm:
        raise Refused("a certificate of another key")
    if digest != content_digest(apk, start, directory):
        raise Refused("changed")
    return certificate
