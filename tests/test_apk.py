"""The Android app: it is signed, known tools read it, a JVM runs its code, and a browser its page."""

import base64
import functools
import hashlib
import http.server
import io
import json
import random
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pggan_tf as pg
from export import parity, web
from export.apk import archive, assemble, build, keys, manifest, signing
from pggan_tf.errors import UserError
from tests import android_stubs, image_networks
from tests.conftest import pggan
from tests.test_export import refused
from tests.test_web import face, file_of, generator, near, read, settled

pytest.importorskip("cryptography", reason="cryptography is not installed (extra apk)")
from cryptography import x509  # noqa: E402
from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: E402

from tests import apk_verifier  # noqa: E402
from tests.apk_verifier import V2, V3, Refused, verify  # noqa: E402

HOST = "https://appassets.androidplatform.net/"
CAMERA = "android.webkit.resource.VIDEO_CAPTURE"
CODE = build.CODE


def tool(*words, **kwargs) -> str:
    """What a program of Debian says. Without it the test is skipped."""
    if not shutil.which(words[0]):
        pytest.skip(f"no {words[0]} (Debian: apt-get install {words[0].replace('aapt2', 'aapt')})")
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=120, **kwargs)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pem(private, certificate=True, password=None) -> bytes:
    """A key, and a certificate of it that was made with other names than ours."""
    coded, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    locked = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    text = private.private_bytes(coded, form, locked)
    if not certificate:
        return text
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Marta")])
    begin, end = (keys.datetime.datetime(year, 1, 1) for year in (2020, 2060))
    made = x509.CertificateBuilder(name, name, private.public_key(), 7, begin, end)
    return text + made.sign(private, None if isinstance(private, ed25519.Ed25519PrivateKey) else hashes.SHA256()).public_bytes(coded)  # fmt: skip


@pytest.fixture(scope="module")
def rsa_key():
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def key_file(rsa_key, tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "key.pem"
    path.write_bytes(pem(rsa_key))
    return path


@pytest.fixture(scope="module")
def page_folder(tmp_path_factory):
    """A folder with what an app needs of a page, and a file of more than one chunk of a digest."""
    folder = tmp_path_factory.mktemp("page")
    Image.effect_noise((512, 512), 90).convert("RGB").save(folder / "icon-512.png")
    (folder / "index.html").write_text("<!doctype html><title>Größe</title>", encoding="utf-8")
    (folder / "sw.js").write_text("self")
    (folder / "lib").mkdir()
    (folder / "lib" / "noise.wasm").write_bytes(random.Random(0).randbytes(3_000_000))
    return folder


def packed(folder, key_file, **options) -> bytes:
    app = manifest.App("Gesichter é 😀", "org.example.faces_2", 7, "7", **{"camera": False, **options})
    return build.pack(folder, app, keys.load(key_file))


@pytest.fixture(scope="module")
def apk(page_folder, key_file):
    return packed(page_folder, key_file)


@pytest.fixture
def apk_file(apk, tmp_path):
    path = tmp_path / "made.apk"
    path.write_bytes(apk)
    return path


@pytest.fixture(autouse=True)
def settings(monkeypatch, tmp_path):
    """The user's folder of settings, away from the real one."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    return tmp_path / "settings"


def test_both_signatures_are_of_the_key(apk, key_file):
    certificate = keys.load(key_file).certificate
    assert verify(apk, V2) == verify(apk, V3) == certificate
    assert x509.load_der_x509_certificate(certificate).subject.rfc4514_string() == "CN=Marta"


@pytest.mark.parametrize("curve", [ec.SECP256R1, ec.SECP521R1])
def test_signatures_by_elliptic_curves(page_folder, tmp_path, curve):
    path = tmp_path / "key.pem"
    path.write_bytes(pem(ec.generate_private_key(curve())))
    made = packed(page_folder, path)
    assert verify(made, V2) == verify(made, V3)
    (tmp_path / "made.apk").write_bytes(made)
    said = tool("apksigner", "verify", "--verbose", tmp_path / "made.apk")
    assert "(APK Signature Scheme v2): true" in said and "(APK Signature Scheme v3): true" in said


def test_a_flipped_bit_is_noticed_wherever_it_is(apk):
    pairs, start, directory = apk_verifier.blocks(apk)
    whole = len(apk)
    places = [0, start - 1, directory, directory + 50, whole - 22, whole - 10]  # entries, directory, end
    places += random.Random(1).sample(range(start), 5) + random.Random(1).sample(range(directory, whole - 22), 5)
    values = [apk.index(pairs[V2]), apk.index(pairs[V3])]
    for place in places:
        changed = bytearray(apk)
        changed[place] ^= 4
        for scheme in (V2, V3):
            with pytest.raises(Refused):
                verify(bytes(changed), scheme)
    for scheme, value in zip((V2, V3), values):
        for offset in range(0, len(pairs[scheme]), 37):  # lengths, digests, certificate, signature, public key
            changed = bytearray(apk)
            changed[value + offset] ^= 4
            with pytest.raises(Refused):
                verify(bytes(changed), scheme)


def test_the_newer_signature_cannot_be_cut_out(apk):
    """Version 2 says that there is a version 3."""
    number = V3.to_bytes(4, "little")
    assert apk.count(number) == 1
    with pytest.raises(Refused, match="cut out"):
        verify(apk.replace(number, bytes(4)), V2)


def test_the_same_app_is_the_same_file(apk, page_folder, key_file):
    assert packed(page_folder, key_file) == apk


def test_entries_are_where_android_can_read_them(apk, page_folder):
    with zipfile.ZipFile(io.BytesIO(apk)) as opened:
        assert opened.testzip() is None
        kinds = {info.filename: info.compress_type for info in opened.infolist()}
        for info in opened.infolist():
            if info.compress_type == zipfile.ZIP_STORED:
                name, extra = (int.from_bytes(apk[info.header_offset + at :][:2], "little") for at in (26, 28))
                assert (info.header_offset + 30 + name + extra) % 4 == 0, info.filename
        assert opened.read("assets/lib/noise.wasm") == (page_folder / "lib" / "noise.wasm").read_bytes()
    assert next(iter(kinds)) == "AndroidManifest.xml"
    assert kinds["resources.arsc"] == zipfile.ZIP_STORED and kinds["classes.dex"] == zipfile.ZIP_DEFLATED
    assert "assets/sw.js" not in kinds and "assets/index.html" in kinds


@pytest.mark.parametrize("length", range(1, 9))
def test_padding_of_every_length(length):
    made = archive.write_archive({"x" * length: b"text" * length, "a.png": b"1", "é.png": b"22"})
    at = made.index(b"22")
    assert at % 4 == 0 and zipfile.ZipFile(io.BytesIO(made)).read("é.png") == b"22"


def test_a_digest_by_hand():
    """By the words of the description: chunks of a mebibyte, 0xa5 before each, 0x5a before their digests."""
    parts = [b"a" * (1 << 20), b"b", b"c"]
    each = [hashlib.sha256(b"\xa5" + len(p).to_bytes(4, "little") + p).digest() for p in parts]
    truth = hashlib.sha256(b"\x5a" + b"\3\0\0\0" + b"".join(each)).digest()
    assert signing.compute_digest([b"a" * (1 << 20) + b"b", b"", b"c"]) == truth


def test_aapt_reads_it(apk_file):
    said = tool("aapt", "dump", "badging", apk_file)
    for line in (
        "package: name='org.example.faces_2' versionCode='7' versionName='7'",
        "sdkVersion:'24'",
        "targetSdkVersion:'36'",
        "application-label:'Gesichter é 😀'",
        "launchable-activity: name='pggan.app.Main'",
    ):
        assert line in said
    assert "permission" not in said


def test_aapt2_reads_it(apk_file, page_folder, key_file, tmp_path):
    said = tool("aapt2", "dump", "xmltree", "--file", "AndroidManifest.xml", apk_file)
    assert 'authorities(0x01010018)="org.example.faces_2.pictures"' in said and "configChanges(0x0101001f)=3504" in said
    said = tool("aapt2", "dump", "resources", apk_file)
    for line in (
        'resource 0x7f010000 string/label\n      () "Gesichter é 😀"',
        "(night) #ff16171a",
        "(xxxhdpi) (file) res/mipmap-xxxhdpi/icon.png",
        "(anydpi-v26) (file) res/mipmap-anydpi-v26/icon.xml",
        "() (style) size=3 parent=0x01030241",
        "(night) (style) size=3 parent=0x0103022e",
    ):
        assert line in said, said
    # By which of its forms Android has to look again: dark mode 0x1000, version 0x400, density 0x100.
    said = tool("aapt", "dump", "resources", apk_file)
    for name, flags in (
        ("color/paper", 0x1000),
        ("mipmap/icon", 0x500),
        ("mipmap/icon_whole", 0x100),
        ("string/label", 0),
    ):
        assert f"org.example.faces_2:{name}: flags=0x{flags:08x}" in said
    said = tool("aapt2", "dump", "xmltree", "--file", "res/mipmap-anydpi-v26/icon.xml", apk_file)
    assert "drawable(0x01010199)=@0x7f030001" in said
    (tmp_path / "camera.apk").write_bytes(packed(page_folder, key_file, camera=True))
    said = tool("aapt2", "dump", "badging", tmp_path / "camera.apk")
    assert said.count("uses-permission") == 1 and "uses-permission: name='android.permission.CAMERA'" in said
    assert said.count("uses-feature-not-required: name='android.hardware.camera") == 2, "with autofocus"


def test_numbers_of_attributes_are_the_framework_s(apk_file):
    """aapt knows them by itself."""
    said = tool("aapt", "dump", "xmltree", apk_file, "AndroidManifest.xml")
    for name in ("versionCode", "minSdkVersion", "exported", "windowSoftInputMode", "grantUriPermissions", "theme"):
        assert f"android:{name}(" in said
    assert "A: android:exported(0x01010010)=(type 0x12)0xffffffff" in said


def test_apksigner_accepts_it(apk_file, key_file):
    said = tool("apksigner", "verify", "--verbose", "--print-certs", apk_file)
    assert "(APK Signature Scheme v2): true" in said and "(APK Signature Scheme v3): true" in said
    assert hashlib.sha256(keys.load(key_file).certificate).hexdigest() in said and "WARNING" not in said
    content = bytearray(apk_file.read_bytes())
    content[len(content) // 2] ^= 1
    apk_file.write_bytes(content)
    assert subprocess.run(["apksigner", "verify", apk_file], capture_output=True).returncode == 1


def test_zipalign_accepts_it(apk_file):
    assert "Verification successful" in tool("zipalign", "-c", "-v", "4", apk_file)


def test_dexdump_reads_the_code(apk_file):
    said = tool("dexdump", "-a", apk_file)
    assert "DEX version '037'" in tool("dexdump", "-f", apk_file)
    assert said.count("VISIBILITY_RUNTIME Landroid/webkit/JavascriptInterface;") == 4, "begin, add, save, share"


def test_the_code_is_that_of_its_source(tmp_path):
    if not shutil.which("smali"):
        pytest.skip("no smali (Debian: apt-get install smali)")
    assemble.assemble(tmp_path / "classes.dex")
    assert (tmp_path / "classes.dex").read_bytes() == CODE.read_bytes(), "python -m export.apk.assemble"


def test_icons_are_of_the_page_s_picture(page_folder):
    rounded, whole = build.icons.draw(page_folder / "icon-512.png")
    sizes = {name: (Image.open(io.BytesIO(rounded[name])).size, Image.open(io.BytesIO(whole[name])).size) for name in rounded}  # fmt: skip
    assert sizes["mdpi"] == ((48, 48), (108, 108)) and sizes["xxxhdpi"] == ((192, 192), (432, 432))
    icon = np.asarray(Image.open(io.BytesIO(rounded["xxxhdpi"])))
    assert icon[0, 0, 3] == 0 and icon[96, 96, 3] == 255 and icon[0, 96, 3] > 200
    middle = np.asarray(Image.open(io.BytesIO(whole["xxxhdpi"])))[56:376, 56:376].astype(float)  # 80 of 108 dp
    truth = np.asarray(Image.open(page_folder / "icon-512.png").resize((320, 320), Image.Resampling.LANCZOS))
    assert np.abs(middle - truth).mean() < 15  # two pictures of noise differ by 50


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("Faces", "pggan.faces"),
        ("Größe 2", "pggan.grosse_2"),
        ("顔", "pggan.app"),
        ("7up", "pggan.app"),
        ("_", "pggan.app"),
    ],
)
def test_an_id_follows_from_the_name(name, made):
    found = build.make_id(name.replace("ß", "ss"))
    assert found == made or (made == "pggan.app" and found.startswith(made) and found != build.make_id(name + "x"))
    build.check_options(name, found, 1)


def test_versions_rise(monkeypatch):
    app = build.make_app("Faces", None, None, False)
    assert 3_600_000 < app.version < build.MAX_VERSION and app.id == "pggan.faces"

    class Later(keys.datetime.datetime):
        @classmethod
        def now(cls, zone):
            return super().now(zone) + keys.datetime.timedelta(minutes=1)

    monkeypatch.setattr(build.datetime, "datetime", Later)
    assert build.make_app("Faces", None, None, False).version > app.version


# Keys


def test_a_key_is_made_once_and_kept(settings):
    first, path = keys.load_default()
    assert path == settings / "pggan-tf" / "android-key.pem"
    if sys.platform != "win32":
        assert path.stat().st_mode & 0o777 == 0o600
    again, new = keys.load_default()
    assert new is None and again.certificate == first.certificate and again.public == first.public
    certificate = x509.load_der_x509_certificate(first.certificate)
    assert first.private.key_size >= 2048 and certificate.not_valid_after_utc.year > 2050
    shutil.copy(path, settings / "copy.pem")  # as --key it is the same
    assert keys.load(settings / "copy.pem").certificate == first.certificate


def test_keys_that_cannot_sign_an_app(rsa_key, tmp_path, monkeypatch):
    path = tmp_path / "key.pem"

    def no(content, *words):
        path.write_bytes(content)
        with pytest.raises(UserError) as caught:
            keys.load(path)
        for word in (f"--key {path}: ", *words):
            assert word in str(caught.value)

    no(pem(rsa_key, certificate=False), "no certificate", f"openssl req -x509 -new -key {path}")
    no(pem(rsa_key, password=b"secret"), "locked with a password", "openssl pkey -in")
    no(b"hello", "no private key in PEM")
    no(pem(rsa.generate_private_key(65537, 1024)), "RSA with 1024 bits", "2048")
    no(pem(ed25519.Ed25519PrivateKey.generate()), "does not know", "RSA or an elliptic curve")
    no(pem(ec.generate_private_key(ec.SECP256K1())), "the curve secp256k1", "P-256")
    other = ec.generate_private_key(ec.SECP256R1())
    no(pem(rsa_key, certificate=False) + pem(other).partition(b"-----END PRIVATE KEY-----\n")[2], "of another key")
    with pytest.raises(UserError, match="none.pem: cannot be read .* one is made and kept"):
        keys.load(tmp_path / "none.pem")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match="cannot be kept there .* Give --key FILE"):
        keys.load_default()


@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl")
def test_what_the_message_says_to_type_makes_a_key(rsa_key, tmp_path):
    path = tmp_path / "key.pem"
    path.write_bytes(pem(rsa_key, certificate=False))
    with pytest.raises(UserError) as caught:
        keys.load(path)
    subprocess.run(str(caught.value).partition("Add one: ")[2], shell=True, check=True, capture_output=True)
    assert keys.load(path).private.private_numbers() == rsa_key.private_numbers()


# The code, on a JVM


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    for name, package in (("enjarify", "enjarify"), ("javac", "default-jdk-headless")):
        if not shutil.which(name):
            pytest.skip(f"no {name} (Debian: apt-get install {package})")
    return android_stubs.compile_app(CODE, tmp_path_factory.mktemp("jvm"))


@pytest.fixture
def phone(command, tmp_path, page_folder):
    assets = tmp_path / "apk" / "assets"
    shutil.copytree(page_folder, assets)
    (assets.parent / "secret.txt").write_text("secret")
    for name in ("a.js", "a.css", "a.json", "a.tflite", "a.md", "a.webmanifest", "a b.png", "..b.png"):
        (assets / name).write_text(name)
    phone = android_stubs.Phone(command, assets, tmp_path)
    yield phone
    phone.close()


def got(phone, url) -> tuple[int, str, str, str]:
    """(status, type, character set, hash) of an answer."""
    status, kind, charset, digest = phone("get", url)[-1].removeprefix("= ").split()
    return int(status), kind, charset, digest


def test_the_screen_shows_the_page(phone):
    assert phone("create") == [
        "scripts true", "files false", "bridge pgganApp", "fits true", "shown FrameLayout", f"load {HOST}",
    ]  # fmt: skip
    assert phone("keep") == ["state kept"]
    assert phone("again", "kept")[-1] == "restore"
    assert phone("again", "lost")[-2:] == ["restore", f"load {HOST}"]
    assert phone("destroy") == ["removed", "destroyed"]


def test_files_are_served_with_their_types(phone, page_folder):
    phone("create")
    types = {
        "index.html": "text/html utf-8", "a.js": "text/javascript utf-8", "a.css": "text/css utf-8", "a.json": "application/json null",
        "a.tflite": "application/octet-stream null", "a.md": "text/plain utf-8", "lib/noise.wasm": "application/wasm null",
        "a.webmanifest": "application/manifest+json null", "icon-512.png": "image/png null",
    }  # fmt: skip
    for name, kind in types.items():
        content = (page_folder / name).read_bytes() if (page_folder / name).exists() else name.encode()
        assert got(phone, HOST + name) == (200, *kind.split(), hashlib.sha256(content).hexdigest())
    assert got(phone, HOST) == got(phone, HOST + "index.html") == got(phone, HOST + "?q=1") == got(phone, HOST + "#x")
    assert got(phone, HOST + "a%20b.png")[0] == 200
    assert phone("get", "data:image/svg+xml,x") == phone("get", "blob:https://x/1") == ["= null"]


@pytest.mark.parametrize(
    "url",
    [
        HOST + "none.js", HOST + "lib", HOST + "lib/", HOST + "../secret.txt", HOST + "%2e%2e/secret.txt", HOST + "..%2fsecret.txt",
        HOST + "lib/../../secret.txt", HOST + "/secret.txt", HOST + "..b.png", "https://example.org/index.html",
        "http://appassets.androidplatform.net/index.html", "https://appassets.androidplatform.net:8080/index.html",
        "https://me@appassets.androidplatform.net/index.html", "https://appassets.androidplatform.net.evil.org/index.html",
        "https://appassets.androidplatform.net", "file:///etc/passwd", "ftp://example.org/x", "content://x/y",
    ],
)  # fmt: skip
def test_everything_else_is_404(phone, url):
    phone("create")
    empty = hashlib.sha256(b"").hexdigest()
    assert got(phone, url) == (404, "text/plain", "utf-8", empty)
    if not url.startswith(HOST):
        assert not any(line.startswith("asset") for line in phone("get", url)), "no file is even opened"


def test_links_stay_in_the_page(phone):
    phone("create")
    assert phone("link", HOST + "#seed=3") == ["= false"]
    assert phone("link", "https://example.org/") == ["= true"]


@pytest.mark.parametrize("api", ["24", "33", "36"])
def test_back_goes_back_in_the_page_and_then_out_of_it(phone, api):
    phone("api", api)
    phone("create")
    phone("deep")
    assert phone("back") == ["back in the page"]
    assert phone("back") == ["left true"]


def test_a_file_is_chosen(phone):
    phone("create")
    assert phone("files") == ["start 1 choose {}", "= true"]
    assert phone("result", "1", "-1", "content://photos/7") == ["file content://photos/7"]
    assert phone("result", "1", "-1", "content://photos/8") == []  # nobody waits
    phone("files")
    assert phone("files") == ["file none", "start 1 choose {}", "= true"]  # the first one was left open
    assert phone("result", "1", "0") == ["file none"]
    phone("alone", "true")
    assert phone("files") == ["= false"]
    assert phone("result", "1", "0") == []


def test_the_camera_is_for_the_own_page_alone(phone):
    phone("create")
    for origin, what in (
        ("https://example.org/", CAMERA),
        ("http://appassets.androidplatform.net/", CAMERA),
        (HOST, "android.webkit.resource.AUDIO_CAPTURE"),
        (HOST, f"{CAMERA},android.webkit.resource.AUDIO_CAPTURE"),
    ):
        assert phone("camera", origin, what) == ["deny"]
    assert phone("camera", HOST, CAMERA) == ["ask android.permission.CAMERA"]
    assert phone("forbid") == ["deny"] and phone("forbid") == []
    phone("camera", HOST, CAMERA)
    assert phone("ignore") == ["deny"]
    phone("camera", HOST, CAMERA)
    assert phone("camera", HOST, CAMERA) == ["deny", "ask android.permission.CAMERA"]
    phone("cancel")
    assert phone("allow") == []  # the page has given up
    assert phone("camera", HOST, CAMERA) == [f"grant {CAMERA}"]  # it was allowed: nobody is asked again


def test_a_picture_is_saved(phone, tmp_path):
    phone("create")
    phone("begin", "../../face 7.png")
    phone("add", "QUJD")
    phone("add", "REU=")
    assert (tmp_path / "cache" / "pictures" / "face 7.png").read_bytes() == b"ABCDE"
    place = "content://media/external/images/media"
    assert phone("save") == [
        f"insert {place} {{_display_name=face 7.png, mime_type=image/png, relative_path=Pictures}}",
        f"write {place}/7",
        "toast Saved",
    ]
    assert (tmp_path / "saved.png").read_bytes() == b"ABCDE"
    phone("full", "true")
    assert phone("save")[1:] == [f"write {place}/7", "toast The picture could not be saved", f"delete {place}/7"]
    phone("begin", "face 7.png")  # the same name again: a new picture
    phone("add", "QUJD")
    assert (tmp_path / "cache" / "pictures" / "face 7.png").read_bytes() == b"ABC"
    phone("begin", "..")
    told = "The phone has no room for the picture"
    assert phone("add", "QUJD") == [f"toast {told}", f"= IllegalStateException {told}"]
    phone("create")  # a new start: what was only shared is forgotten
    assert not list((tmp_path / "cache" / "pictures").iterdir())


def test_on_older_phones_the_person_chooses_where_it_is_saved(phone, tmp_path):
    phone("api", "28")
    phone("create")
    phone("begin", "face.png")
    phone("add", "QUJD")
    (line,) = phone("save")
    assert line.startswith("start 2 android.intent.action.CREATE_DOCUMENT {android.intent.extra.TITLE=face.png, ")
    assert phone("result", "2", "0") == []
    assert phone("result", "2", "-1", "content://documents/9") == ["write content://documents/9", "toast Saved"]
    assert (tmp_path / "saved.png").read_bytes() == b"ABC"
    phone("alone", "true")
    assert phone("save") == ["toast No app on this phone can do that"]


def test_a_picture_is_shared(phone):
    phone("create")
    phone("begin", "face 7.png")
    phone("add", "QUJD")
    (line,) = phone("share")
    url = "content://pggan.test.pictures/face%207.png"
    sent = f"android.intent.action.SEND {{android.intent.extra.STREAM={url}, flags=1, type=image/png}}"
    assert line == f"start -1 chooser {{of={sent}}}"
    assert phone("read", url) == ["= cache/pictures/face 7.png"]
    assert phone("query", url) == ["= _display_name _size [face 7.png, 3]"]
    for other in ("..%2f..%2fapk%2fsecret.txt", "%2e%2e", "none.png", ""):
        (said,) = phone("read", f"content://pggan.test.pictures/{other}")
        assert said.startswith("= FileNotFoundException")


# The whole of it, through the front door


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Files are compared with Keras on two inputs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parity, "INPUTS", range(16, 18))
        patch.setattr(parity, "_SECONDS", 0.01)
        yield


@pytest.fixture(scope="module")
def networks():
    return {"generate": generator(classes=(), resolutions=(8, 16)), "colorize": image_networks.built("colorize")}


@pytest.fixture(scope="module")
def files(networks, tmp_path_factory):
    """{task: its .keras file}"""
    folder = tmp_path_factory.mktemp("networks")
    out = {task: folder / task / "generator.keras" for task in networks}
    for task, path in out.items():
        path.parent.mkdir()
        networks[task].save(path)
    return out


@pytest.fixture(scope="module")
def runtime(cache):
    try:
        web.fetch_runtime()
    except UserError as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def exported(files, runtime, key_file, tmp_path_factory):
    """An app of both networks."""
    path = tmp_path_factory.mktemp("exported") / "faces.apk"
    code, out, err = pggan("export", *files.values(), "--to", "apk", "--quantize", "float16", "--key", key_file, "--name", "Faces & more", "--out", path)  # fmt: skip
    assert code == 0 and err == "", err
    assert out.splitlines()[-1] == str(path) and "faces.apk" in out
    return path


def test_an_app_s_size_is_that_of_one_runtime(exported):
    with zipfile.ZipFile(exported) as opened:
        names = opened.namelist()
        assert [*json.loads(opened.read("assets/site.json"))["runtime"]] == [web.RUNTIMES[0]]
        assert [n for n in names if n.endswith(".wasm")] == [f"assets/lib/wasm/{web.RUNTIMES[0]}.wasm"]
        assert {"assets/models/generate.tflite", "assets/models/colorize.tflite", "assets/MODEL_CARD-generate.md"} <= {
            *names
        }
    assert exported.stat().st_size < 5_000_000
    assert verify(exported.read_bytes(), V3)


@pytest.mark.slow
def test_an_export_makes_and_keeps_a_key(files, runtime, settings, tmp_path):
    """And is beside the network, under the app's name, if no place is given."""
    code, out, err = pggan("export", files["generate"], "--to", "apk", "--subject", "horse")
    assert code == 0 and "Keep a copy: a phone takes a new version" in err and str(settings) in err
    horses = files["generate"].with_name("horses.apk")
    assert out.splitlines()[-1] == str(horses)
    made = pg.export(
        files["generate"], tmp_path / "b.apk", formats="apk", version_code=9, app_id="org.me.horses", truncation=0.7
    )
    assert made == tmp_path / "b.apk" and [*tmp_path.glob("*.apk")] == [made]
    assert verify(horses.read_bytes(), V2) == verify(made.read_bytes(), V2)
    refused(pggan("export", files["generate"], "--to", "apk", "--out", made), "b.apk: is there already")
    said = tool("aapt", "dump", "badging", made)
    assert "name='org.me.horses' versionCode='9'" in said and "label='Faces'" in said
    assert "label='Horses'" in tool("aapt", "dump", "badging", horses)


def test_bad_options_are_refused(files, tmp_path, monkeypatch):
    def no(*arguments, words):
        refused(pggan("export", files["generate"], *arguments), *words)

    app = ("--to", "apk")
    for name in ("", "  ", "x" * 31, "two\nlines", "\ud800"):
        no(*app, "--name", name, words=("--name", "1 to 30 characters"))
    for bad in ("faces", "1a.b", "a..b", "a.b-c", "ä.b", "a." + "b" * 100, "a.b\n"):
        no(*app, "--app-id", bad, words=("--app-id", "org.example.faces"))
    for code in (0, -1, 2_100_000_001):
        no(*app, "--version-code", code, words=(f"--version-code {code}", "expected 1 to 2100000000"))
    no(*app, "--to", "tflite", words=("--to apk --to tflite: an app is one file",))
    no(*app, "--out", tmp_path / "faces", words=("ends in .apk, such as .*faces.apk",))
    no(*app, "--output", "uint8", words=("--output uint8 with --to apk: nothing would read it",))
    no("--app-id", "a.b", words=("--app-id a.b with --to tflite: nothing would read it. It works with --to apk",))
    no("--to", "web", "--key", "k", words=("--key k with --to web",))
    no(*app, "--key", tmp_path / "none.pem", words=("none.pem: cannot be read",))
    monkeypatch.setattr(keys.importlib.util, "find_spec", lambda name: None)
    no(*app, words=("cryptography not installed", r"pggan-tf\[apk\]"))
    assert not list(tmp_path.iterdir())


# The page, as a WebView shows it: no headers for threads, no service worker, and the app's bridge


class Quiet(http.server.SimpleHTTPRequestHandler):
    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, ".js": "text/javascript", ".wasm": "application/wasm"}  # fmt: skip

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def unpacked(exported, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(exported) as opened:
        opened.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def address(unpacked):
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=unpacked / "assets")
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


BRIDGE = """
self.handed = [];
self.pgganApp = {
  begin(name) { this.picture = { name, pieces: [] }; },
  add(text) { this.picture.pieces.push(text); },
  save() { handed.push({ how: "save", ...this.picture }); },
  share() { handed.push({ how: "share", ...this.picture }); },
};
"""


def handed_over(page, button, how):
    """(name, picture) after a click."""
    before = page.evaluate("handed.length")
    button.click()
    page.wait_for_function("n => handed.length > n", arg=before)
    last = page.evaluate("handed.at(-1)")
    assert last["how"] == how
    data = b"".join(base64.b64decode(piece, validate=True) for piece in last["pieces"])
    return last["name"], np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.mark.slow
@pytest.mark.parametrize("size", [(390, 844), (360, 640)])
def test_the_page_in_the_app_draws(page, address, networks, size):
    page.set_viewport_size(dict(zip(("width", "height"), size)))
    page.add_init_script(BRIDGE)
    page.goto(address + "#seed=42")
    settled(page)
    assert not page.evaluate("crossOriginIsolated")
    assert page.inner_text("#status").endswith("WebAssembly"), "one thread"
    near(read(page, ".faces canvas"), face(networks["generate"], 42, 16))
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert not page.get_by_text("Copy link").is_visible()
    for button, how in (("Save PNG", "save"), ("Share", "share")):
        name, picture = handed_over(page, page.get_by_role("button", name=button), how)
        assert name == "face-42-16px.png"
        near(picture, face(networks["generate"], 42, 16))
    page.get_by_role("tab", name="Colorize").click()
    panel = page.get_by_role("tabpanel", name="Colorize")
    panel.wait_for()
    noise = np.random.default_rng(0).integers(0, 256, (700, 900, 3), np.uint8)
    panel.locator("[name=file]").set_input_files(file_of(noise))
    panel.locator(".compare").wait_for()
    name, picture = handed_over(page, panel.get_by_role("button", name="Share"), "share")
    assert name == "photo-colorize.png"
    near(picture, read(page, "#panel-colorize canvas.after"), most=0)
    assert page.evaluate("handed.at(-1).pieces.length") > 1
    page.go_back()  # the back button: to the tab before
    page.get_by_role("tabpanel", name="Faces").wait_for()
    assert page.get_by_label("Seed", exact=True).input_value() == "42"


def test_sliders_in_the_app_make_the_same_pixels_as_python(page, address, files):
    """And test_web_sliders.py says so of the page in a browser."""
    page.add_init_script(BRIDGE)
    page.goto(address + "#seed=5")
    settled(page)
    page.get_by_label("Slider 1").fill("-1.5")
    page.get_by_label("Slider 2").fill("3")
    settled(page)
    made = pg.load(files["generate"]).sample(seeds=[5], sliders={1: -1.5, 2: 3})
    near(read(page, ".faces canvas"), np.asarray(made)[0])
    assert np.abs(np.asarray(made)[0].astype(int) - face(pg.load(files["generate"]).network, 5, 16)).max() > 10


def test_everything_that_the_page_asks_for_is_served(page, address, command, unpacked, tmp_path):
    """By the app's code."""
    asked = set()
    page.on("request", lambda request: asked.add(request.url) if request.url.startswith(address) else None)
    page.add_init_script(BRIDGE)
    page.goto(address)
    settled(page)
    page.get_by_role("tab", name="Colorize").click()
    page.get_by_role("tabpanel", name="Colorize").wait_for()
    paths = {url.removeprefix(address).partition("#")[0] for url in asked}
    assert {"app.js", "site.json", "models/generate.tflite", f"lib/wasm/{web.RUNTIMES[0]}.wasm"} <= paths
    phone = android_stubs.Phone(command, unpacked / "assets", tmp_path)
    phone("create")
    for path in paths:
        expected = hashlib.sha256((unpacked / "assets" / (path or "index.html")).read_bytes()).hexdigest()
        status, kind, _, digest = got(phone, HOST + path)
        assert (status, digest) == (200, expected) and kind != "text/plain", path
    phone.close()


def test_a_folder_of_the_package_has_the_code():
    assert {"classes.dex", "Main.smali", "Site.smali"} <= {
        p.name for p in Path(build.__file__).with_name("app").iterdir()
    }
