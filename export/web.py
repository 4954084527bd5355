"""A static site that runs exported networks in the browser: the modules of export/web, LiteRT.js, and the models."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from export import parity, signatures, tflite
from export.source import Source
from pggan_tf import synthesis
from pggan_tf.data import pixels
from pggan_tf.data.shards import cache_folder
from pggan_tf.errors import UserError

SOURCES = Path(__file__).parent / "web"
PACKAGES = ("package.json", "package-lock.json")
SITE = "site.json"
# The builds of the runtime that a page chooses from: without relaxed SIMD, with it, with threads too.
RUNTIMES = ("litert_wasm_compat_internal", "litert_wasm_internal", "litert_wasm_threaded_internal")
_PROBE = 192  # numbers of an image that a browser's GPU has to come near
# What the page is called, by what it holds.
_TITLES = {
    "generate": "{0}s that do not exist",
    "colorize": "Colour for gray photos",
    "recolor": "Colour for gray photos",
    "upscale": "Larger photos",
    "translate": "Photos turned into others",
}


# Below its icon on a phone's home screen, where there is place for a word or two.
_SHORT = {"generate": "{0}s", "colorize": "Colour", "recolor": "Colour", "upscale": "Enlarge", "translate": "Translate"}


def runtime() -> Path:
    """The folder of @litertjs, brought by npm as package-lock.json says, once."""
    key = hashlib.sha256(b"".join((SOURCES / p).read_bytes() for p in PACKAGES)).hexdigest()[:16]
    folder = cache_folder() / "web" / key
    found = folder / "node_modules" / "@litertjs"
    if found.is_dir():
        return found
    npm = shutil.which("npm")  # by its whole name, as Windows wants it of a script
    if npm is None:
        raise UserError(
            "--to web: npm is not installed; it brings the browser's runtime. Install Node.js 18 or newer, which has it "
            "(https://nodejs.org; Debian: apt-get install npm), then try again."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=folder.parent) as own:
        partial = Path(own) / key
        partial.mkdir()
        for name in PACKAGES:
            shutil.copy(SOURCES / name, partial)
        # npm's own cache lies in the home folder, which may be one that cannot be written.
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--cache", str(Path(own) / "npm")]
        result = subprocess.run(command, cwd=partial, capture_output=True, text=True)
        if result.returncode:
            reason = next((x for x in result.stderr.splitlines() if "error" in x.lower()), "no reason given")
            raise UserError(
                f"--to web: npm could not bring the browser's runtime ({reason[:200]}). Check the network, then try again."
            )
        with contextlib.suppress(OSError):  # another process brought the same meanwhile
            partial.rename(folder)
    return found


def build(
    sources: Sequence[Source],
    out: Path,
    how: str,
    truncation: float | None,
    photos,
    licence: str | None = None,
    subject: str = "face",
) -> list[dict]:
    """Writes the site into the empty folder `out`. photos: source -> what examples are made from. licence: of the weights.
    subject: what a generator draws. Returns one object for each model's file, as in report.json."""
    packages = runtime()
    for path in SOURCES.iterdir():
        if path.name not in PACKAGES and path.is_file():
            shutil.copy(path, out)
    _copy_runtime(packages, out / "lib")
    (out / "models").mkdir()
    noun = subject[0].upper() + subject[1:]
    models, files = [], []
    for source in sources:
        entry, report = _model(source, out, how, truncation, photos(source), licence)
        models.append({**entry, "subject": subject, "title": _TITLES[source.task].format(noun)})
        files.append(report)
    page = out / "index.html"
    title = " · ".join(dict.fromkeys(_TITLES[s.task].format(noun) for s in sources))
    text = page.read_text(encoding="utf-8").replace("@TITLE@", title)
    page.write_text(text, encoding="utf-8")
    short = " · ".join(dict.fromkeys(_SHORT[s.task].format(noun) for s in sources))
    _icons(next((s for s in sources if s.task == "generate"), None), title, short, out)
    sizes = {name: (out / "lib" / "wasm" / f"{name}.wasm").stat().st_size for name in RUNTIMES}
    (out / SITE).write_text(json.dumps({"models": models, "runtime": sizes}, indent=1))
    _seal(out)
    return files


def _copy_runtime(packages: Path, lib: Path) -> None:
    (lib / "wasm").mkdir(parents=True)
    code = (packages / "core" / "dist" / "index.js").read_text(encoding="utf-8")
    bare = 'from "@litertjs/wasm-utils"'
    if bare not in code:
        raise UserError(
            f"--to web: {packages / 'core'} is not the version of package-lock.json. Remove {packages.parents[1]}, then try again."
        )
    # Bare names would need an import map, which the page's security policy does not let in.
    code = code.replace(bare, 'from "./wasm-utils.js"')
    (lib / "litert.js").write_text(code.rpartition("//# sourceMappingURL")[0] or code, encoding="utf-8")
    helper = (packages / "wasm-utils" / "dist" / "index.js").read_text(encoding="utf-8")
    (lib / "wasm-utils.js").write_text(helper.rpartition("//# sourceMappingURL")[0] or helper, encoding="utf-8")
    for name in RUNTIMES:
        for suffix in (".js", ".wasm"):
            shutil.copy(packages / "core" / "wasm" / f"{name}{suffix}", lib / "wasm")


def _model(source: Source, out: Path, how: str, truncation: float | None, photos, licence) -> tuple[dict, dict]:
    """One network of the site. With floats in and out, which WebGPU can take, and fixed sizes, which LiteRT.js needs."""
    network, task = source.network, source.task
    offered = signatures.of(network, truncation, dynamic=False, pixels="float32")
    plain = tflite.convert(network, offered, "float32")

    def quantized(how: str) -> tuple[bytes, tflite.Runner, list[dict]]:
        model = tflite.quantize(plain, offered, how, photos)
        run = tflite.Runner(model)
        rows = parity.compare(offered, run, photos, "float32")
        parity.require(rows, tflite.QUANTIZATIONS[how], f"models/{task}.tflite ({how})")
        about = tflite.about(source, licence, offered, "float32", how)
        return tflite.with_metadata(model, f"{source.name}: {task}", about), run, [asdict(r) for r in rows]

    model, run, rows = quantized(how)
    interface = signatures.described(offered, "float32")
    report = {"file": f"models/{task}.tflite", "bytes": len(model), "quantize": how, "interface": interface}
    report["signatures"] = rows
    if how == "int8":  # which is seldom the better
        with contextlib.suppress(UserError):  # a network that does not take the other
            other, _, theirs = quantized("dynamic")
            report["dynamic"] = {"bytes": len(other), **theirs[0]}
    path = out / "models" / f"{task}.tflite"
    path.write_bytes(model)
    entry = {
        "task": task,
        "file": report["file"],
        "bytes": report["bytes"],
        "sha256": hashlib.sha256(model).hexdigest(),
        "about": source.about(),
        "signatures": {s.name: {"inputs": {n: i.shape for n, i in s.inputs.items()}} for s in offered[::-1]},
        "probe": _probe(offered[0], run),
        "classes": list(network.classes) if task == "generate" else [],
    }
    for name in ("latent_size", "scale", "context"):
        if hasattr(network, name):
            entry[name] = getattr(network, name)
    return entry, report


def _probe(signature: signatures.Signature, run: tflite.Runner) -> dict:
    """What the CPU makes of an input that a page can make too: seed 0, or a picture with waves of every length."""
    usual = {"latents": lambda shape: synthesis.latents([0], shape[1]), "truncation": np.ones, "label": np.zeros}
    inputs = {n: usual.get(n, _waves)(i.shape).astype(i.dtype) for n, i in signature.inputs.items()}
    values = pixels.to_uint8(run(signature.name, inputs)).ravel()
    step = len(values) // _PROBE | 1  # odd, so that not the same column is met again and again
    return {"signature": signature.name, "step": step, "pixels": values[::step].tolist()}


def _waves(shape: tuple[int, ...]) -> np.ndarray:
    """[1, H, W, C] in 0..255; export/web/runtime.js draws the same."""
    _, y, x, c = np.indices(shape)
    return abs((x * y + 85 * c) % 511 - 255)


def _icons(faces: Source | None, name: str, short: str, out: Path) -> None:
    """A face of the generator's own; without one, a disc. name, short: of the site, once it is installed."""
    from PIL import Image, ImageDraw

    if faces is None:
        image = Image.new("RGB", (512, 512), "#f6f5f2")
        ImageDraw.Draw(image).ellipse((96, 96, 416, 416), fill="#3d5afe")
    else:
        network = faces.network
        made = synthesis.Sampler(network, batch=1).images(
            synthesis.latents([0], network.latent_size), network.resolutions[-1], truncation=0.6
        )[0]
        image = Image.fromarray(made.squeeze(-1) if made.shape[-1] == 1 else made).convert("RGB")
    for size in (192, 512):
        image.resize((size, size), Image.Resampling.BICUBIC).save(out / f"icon-{size}.png")
    manifest = {
        "name": name,
        "short_name": short,
        "start_url": "./",
        "scope": "./",
        "display": "standalone",
        "background_color": "#16171a",
        "theme_color": "#16171a",
        "icons": [
            {"src": f"icon-{s}.png", "sizes": f"{s}x{s}", "type": "image/png", "purpose": "any maskable"}
            for s in (192, 512)
        ],
    }
    (out / "manifest.webmanifest").write_text(json.dumps(manifest, indent=1))


def _seal(out: Path) -> None:
    """Fills in what the service worker keeps from the start (the large files follow as they are used) and its version."""
    worker = out / "sw.js"
    files = sorted(p for p in out.rglob("*") if p.is_file() and p != worker)
    hashes = {p.relative_to(out).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
    version = hashlib.sha256(json.dumps(hashes).encode() + worker.read_bytes()).hexdigest()[:16]
    small = [name for name in hashes if not name.endswith((".wasm", ".tflite")) and "wasm/" not in name]
    text = worker.read_text(encoding="utf-8")
    large = {name: digest for name, digest in hashes.items() if name not in small}
    for name, value in (("@VERSION@", version), (["@FILES@"], small), (["@LARGE@"], large)):
        text = text.replace(json.dumps(name), json.dumps(value))
    worker.write_text(text, encoding="utf-8")
