"""Write an app that shows an exported page."""

from __future__ import annotations

import datetime
import re
import unicodedata
import zlib
from pathlib import Path

from export.apk import archive, icons, keys, manifest, signing
from pggan_tf.errors import UserError

CODE = Path(__file__).parent / "app" / "classes.dex"
# Google Play's limits of names and of version codes; Android's of ids is longer.
MAX_NAME, MAX_ID, MAX_VERSION = 30, 100, 2_100_000_000
# It stores the page for visits without a network; in an app the page is always there.
_LEFT_OUT = ("sw.js",)
_BEGIN = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


def check_options(name: str | None, app_id: str | None, version_code: int | None) -> None:
    """Raise UserError if the name, application id or version code of an app is not valid.

    None: not given.
    """
    if name is not None:
        unseen = any(unicodedata.category(c) in ("Cc", "Cs", "Co", "Cn", "Zl", "Zp") for c in name)
        if not name.strip() or len(name) > MAX_NAME or unseen:
            raise UserError(f"--name {name!r}: expected 1 to {MAX_NAME} characters in one line, such as Faces.")
    if app_id is not None and (
        len(app_id) > MAX_ID or not re.fullmatch(r"[A-Za-z]\w*(\.[A-Za-z]\w*)+", app_id, re.ASCII)
    ):
        raise UserError(
            f"--app-id {app_id!r}: expected two or more words with dots between them, each of letters, digits and _ and "
            f"beginning with a letter, {MAX_ID} characters at most, such as org.example.faces."
        )
    if version_code is not None and not 1 <= version_code <= MAX_VERSION:
        raise UserError(
            f"--version-code {version_code}: expected 1 to {MAX_VERSION}, more than that of the version before."
        )


def make_id(name: str) -> str:
    """Return the application id of an app for which none was given, such as pggan.faces for Faces.

    name: name of the app.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    word = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
    if not re.match(r"[a-z]", word):  # such as one in Chinese
        word = f"app{zlib.crc32(name.encode()):08x}"
    return f"pggan.{word}"


def make_app(name: str, app_id: str | None, version_code: int | None, camera: bool) -> manifest.App:
    """Return what an app is called, with defaults for what is not given.

    The version code is the number of minutes since 2020 began: that of a later app is larger.

    Args:
        name: name below the icon.
        app_id: application id; None: one that follows from the name.
        version_code: version code; None: one that follows from the time.
        camera: whether the page has a use for the camera.
    """
    now = datetime.datetime.now(datetime.UTC)
    shown = now.strftime("%Y.%m.%d") if version_code is None else str(version_code)
    code = (now - _BEGIN) // datetime.timedelta(minutes=1) if version_code is None else version_code
    return manifest.App(name, app_id or make_id(name), code, shown, camera)


def pack(site: Path, app: manifest.App, key: keys.Key) -> bytes:
    """Return the content of an .apk.

    Args:
        site: folder of the page, which `export.web` has written.
        app: what the app is called and asks for.
        key: key that signs it.
    """
    entries = {"AndroidManifest.xml": manifest.pack_manifest(app), "classes.dex": CODE.read_bytes()}
    entries |= manifest.pack_values(app, *icons.draw(site / "icon-512.png"))
    for path in sorted(p for p in site.rglob("*") if p.is_file()):
        name = path.relative_to(site).as_posix()
        if name not in _LEFT_OUT:
            entries[f"assets/{name}"] = path.read_bytes()
    return signing.sign(archive.write_archive(entries), key)
