"""Signed pictures: the C2PA's own reader finds what was said, and notices a change."""

import datetime
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

import pggan_tf as pg
from pggan_tf.data import marks, pixels
from pggan_tf.errors import UserError
from tests import image_networks
from tests.conftest import ROOT, pggan
from tests.test_export import refused
from tests.test_marks import said
from tests.test_web import generator

pytest.importorskip("c2pa", reason="c2pa-python is not installed (extra sign)")
from cryptography import x509  # noqa: E402
from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: E402

from pggan_tf.data import credentials  # noqa: E402


def make_key(private, issuer=None, usage="1.3.6.1.5.5.7.3.4") -> bytes:
    """Return a PEM file: a key, its certificate and that of its issuer. issuer: a key; None: the key itself, as of authorities."""
    now, year = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=365)

    def certify(key, name, by, by_name, authority):
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, by_name)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - year)
            .not_valid_after(now + year)
            .add_extension(x509.BasicConstraints(authority, None), True)
            .add_extension(x509.KeyUsage(not authority, *4 * [False], *2 * [authority], False, False), True)
            .add_extension(x509.ExtendedKeyUsage([x509.ObjectIdentifier(usage)]), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), False)
            .sign(by, None if isinstance(by, ed25519.Ed25519PrivateKey) else hashes.SHA256())
        )
        return made.public_bytes(serialization.Encoding.PEM)

    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    text = private.private_bytes(*form)
    if issuer is None:
        return text + certify(private, "Marta", private, "Marta", True)
    return text + certify(private, "Marta", issuer, "Issuer", False) + certify(issuer, "Issuer", issuer, "Issuer", True)


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "key.pem"
    path.write_bytes(make_key(ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())))
    return path


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    path = tmp_path_factory.mktemp("faces") / "generator.keras"
    generator(classes=()).save(path)
    return path


def check(path, source_type=marks.GENERATED, action="c2pa.created") -> dict:
    """Check that a file holds a signed statement which says this, and return its manifest."""
    found = credentials.read(path)
    assert found["validation_state"] == "Valid", found["validation_status"]
    assert [s["code"] for s in found["validation_status"]] == ["signingCredential.untrusted"]  # nobody knows Marta
    manifest = found["manifests"][found["active_manifest"]]
    assert manifest["claim_generator_info"][0]["name"] == "pggan-tf" and manifest["title"] == path.name
    assert manifest["signature_info"]["issuer"] == "Marta" and "time" not in manifest["signature_info"]
    (actions,) = (a["data"]["actions"] for a in manifest["assertions"] if a["label"].startswith("c2pa.actions"))
    assert (actions[-1]["action"], actions[-1]["digitalSourceType"]) == (action, source_type)
    assert [a["action"] for a in actions[:-1]] == ([] if action == "c2pa.created" else ["c2pa.opened"])
    return manifest


def test_generated_pictures_are_signed(faces, key, tmp_path):
    code, _, err = pggan("generate", faces, "--seeds", "1,2", "--grid", tmp_path / "a.png", "--dir", tmp_path / "all", "--sign", key)  # fmt: skip
    assert code == 0, err
    for path in (tmp_path / "a.png", tmp_path / "all" / "000001.png", tmp_path / "all" / "000002.png"):
        check(path)
    # The mark and the pixels are as they would be without a signature.
    code, _, err = pggan("generate", faces, "--seeds", "1,2", "--grid", tmp_path / "b.png")
    assert code == 0, err
    signed, plain = (np.asarray(Image.open(p).convert("RGB")) for p in (tmp_path / "a.png", tmp_path / "b.png"))
    np.testing.assert_array_equal(signed, plain)
    assert said(tmp_path / "a.png") == said(tmp_path / "b.png")
    (origin,) = pg.whose(tmp_path / "all" / "000001.png", faces.parent)
    assert origin.answer == "yes", origin.reason


@pytest.mark.parametrize("name", ["a.jpg", "a.webp"])
def test_pictures_of_python_are_signed(faces, key, tmp_path, name):
    images = pg.load(faces).sample(seeds=[3])
    path = images.save(tmp_path / name, sign=key)
    check(path)
    plain = images.save(tmp_path / f"plain-{name}")
    assert credentials.read(plain) is None
    plain.write_bytes(plain.read_bytes()[:20])  # cut off
    assert credentials.read(plain) is None
    with pytest.raises(UserError, match="nothing is known"):
        pg.Images.of(np.zeros((1, 4, 4, 3), np.uint8)).save(tmp_path / name, sign=key)


@pytest.mark.parametrize("name", ["a.mp4", "a.gif", "a.webp"])
def test_videos_are_signed(faces, key, tmp_path, name):
    path = tmp_path / name
    code, _, err = pggan("interpolate", faces, "--video", path, "--seconds", "0.1", "--sign", key)
    assert code == 0, err
    check(path)


@pytest.mark.parametrize("task", ["upscale", pytest.param("colorize", marks=pytest.mark.slow)])
def test_changed_photos_name_what_they_were_made_from(task, key, tmp_path):
    image_networks.built(task).save(tmp_path / "generator.keras")
    photos = tmp_path / "photos"
    photos.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)
    pixels.save(photos / "a.jpg", noise)
    Image.fromarray(noise).save(photos / "b.bmp")  # cannot hold a statement
    code, _, err = pggan(task, tmp_path / "generator.keras", photos, "--out", tmp_path / "out", "--sign", key)
    assert code == 0, err
    manifest = check(tmp_path / "out" / "a.jpg", marks.CHANGED, "c2pa.edited")
    (photo,) = manifest["ingredients"]
    assert (photo["title"], photo["relationship"]) == ("a.jpg", "parentOf")
    (other,) = (tmp_path / "out").glob("b*")
    (photo,) = check(other, marks.CHANGED, "c2pa.edited")["ingredients"]
    assert (photo["title"], photo["relationship"]) == ("b.bmp", "parentOf")
    # What was said of the photo stays in what is made of it.
    code, _, err = pggan(task, tmp_path / "generator.keras", tmp_path / "out" / "a.jpg", "--out", tmp_path / "twice.png", "--sign", key, "--compare")  # fmt: skip
    assert code == 0, err
    check(tmp_path / "twice.png", marks.CHANGED, "c2pa.edited")
    check(tmp_path / "twice-compare.png", marks.CHANGED, "c2pa.edited")
    assert len(credentials.read(tmp_path / "twice.png")["manifests"]) == 2
    # What is there without a signature is made again.
    pixels.save(tmp_path / "out" / "a.jpg", noise)
    code, _, err = pggan(task, tmp_path / "generator.keras", photos, "--out", tmp_path / "out", "--sign", key, "--skip-existing")  # fmt: skip
    assert code == 0 and "1 of 2 photos are there already" in err
    check(tmp_path / "out" / "a.jpg", marks.CHANGED, "c2pa.edited")


def test_a_changed_pixel_is_noticed(faces, key, tmp_path):
    path = pg.load(faces).sample(seeds=[3]).save(tmp_path / "a.png", sign=key)
    data = bytearray(path.read_bytes())
    data[data.rindex(b"IDAT") + 20] ^= 1
    path.write_bytes(data)
    assert credentials.read(path)["validation_state"] == "Invalid"


@pytest.mark.parametrize(
    "private",
    [
        lambda: rsa.generate_private_key(65537, 2048),
        ed25519.Ed25519PrivateKey.generate,
        lambda: ec.generate_private_key(ec.SECP384R1()),
    ],
)
def test_keys_of_every_kind_sign(private, tmp_path):
    (tmp_path / "key.pem").write_bytes(make_key(private(), ec.generate_private_key(ec.SECP256R1())))
    pixels.save(tmp_path / "a.png", np.zeros((4, 4, 3), np.uint8))
    credentials.Signer(tmp_path / "key.pem").sign(tmp_path / "a.png", marks.GENERATED)
    check(tmp_path / "a.png")


def test_the_private_key_stays_where_it_is(faces, tmp_path):
    """Also if it stands behind its certificates, or other things lie between them."""
    private, issuer = rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1())
    whole = make_key(private, issuer)
    start = whole.index(b"-----BEGIN CERT")
    end = whole.rindex(b"-----BEGIN CERT")
    key, mine, authority = whole[:start], whole[start:end], whole[end:]
    secret = private.private_numbers().d.to_bytes(256, "big")
    for content in (mine + authority + key, mine + key + authority, mine + b"a remark\n" + authority + key):
        (tmp_path / "key.pem").write_bytes(content)
        path = pg.load(faces).sample(seeds=[3]).save(tmp_path / "a.png", sign=tmp_path / "key.pem")
        check(path)
        assert secret not in path.read_bytes()


def test_keys_that_cannot_sign_are_refused(faces, key, tmp_path, monkeypatch):
    curve = ec.generate_private_key(ec.SECP256R1())

    def no(content, *words):
        (tmp_path / "bad.pem").write_bytes(content)
        out = tmp_path / "a.png"
        refused(pggan("generate", faces, "--grid", out, "--seeds", "1", "--dir", tmp_path / "d", "--sign", tmp_path / "bad.pem"), *words)  # fmt: skip
        assert not out.exists() and not (tmp_path / "d").exists()

    whole = key.read_bytes()
    no(b"nonsense", "holds no private key")
    no(whole[: whole.index(b"-----BEGIN CERT")], "holds no certificate")
    no(make_key(curve), "self-signed", "see Signed pictures")
    no(make_key(curve, curve, "1.3.6.1.5.5.7.3.1"), "no signature could be made")  # of a web server
    no(make_key(ec.generate_private_key(ec.SECP256K1()), curve), "another kind")
    refused(pggan("generate", faces, "--grid", tmp_path / "a.png", "--sign", tmp_path / "none.pem"), "No such file")
    refused(pggan("generate", faces, "--grid", tmp_path / "a.png", "--sign", key, "--no-mark"), "Give one of them")
    refused(pggan("generate", faces, "--npz", tmp_path / "a.npz", "--sign", key), "an array, as --npz writes it")
    with pytest.raises(UserError, match="an array cannot be signed"):
        pg.load(faces).sample([1]).save(tmp_path / "a.npz", sign=key)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install \"pggan-tf\[sign\]\""):
        credentials.Signer(key)
    assert not [*tmp_path.glob("*.png")]


@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl")
def test_the_key_of_the_documentation_signs(tmp_path):
    page = (ROOT / "docs" / "explore.md").read_text(encoding="utf-8")
    (recipe,) = re.findall(r"```bash\n(openssl .*?)```", page, re.S)
    subprocess.run(["bash", "-e", "-c", recipe], cwd=tmp_path, check=True, capture_output=True)
    pixels.save(tmp_path / "a.png", np.zeros((4, 4, 3), np.uint8))
    credentials.Signer(tmp_path / "key.pem").sign(tmp_path / "a.png", marks.GENERATED)
    assert credentials.read(tmp_path / "a.png")["validation_state"] == "Valid"
