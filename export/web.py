"""Static site that runs exported networks in the browser: pages, LiteRT.js and models.

LiteRT.js is the runtime, which runs .tflite files with WebAssembly or WebGPU. The page reads
site.json, which has an entry (a dict) for each network, and shows each in a *panel*: a part of the
page with its own controls, in a tab of its own. A source is a trained network with what is known
about it (`export.source.Source`). Texts contain a *noun* for what a generator draws, such as Face.
"""

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
from typing import Any

import numpy as np

from export import litert, parity, signatures
from export.source import Source
from pggan_tf import synthesis
from pggan_tf.data import decode, marks, pixels, transparency
from pggan_tf.data.shards import find_cache_folder
from pggan_tf.errors import UserError
from pggan_tf.explore import sliders
from pggan_tf.runs import slider_names
from pggan_tf.tasks import Task

SOURCES = Path(__file__).parent / "web"
PACKAGES = ("package.json", "package-lock.json")  # npm's lists of packages; not part of the site
SITE = "site.json"  # name of the file in which the page finds its networks
# The builds of the runtime that a page chooses from: without relaxed SIMD, with relaxed SIMD, and
# with relaxed SIMD and threads.
RUNTIMES = ("litert_wasm_compat_internal", "litert_wasm_internal", "litert_wasm_threaded_internal")
_SLIDERS = 6  # number of sliders of a generator that the page shows
_SLOW = 30.0  # milliseconds an image on one thread; below, threads take longer to start than they save
_PROBE = 192  # about how many pixel values a page compares to check its GPU, see `_make_probe`


def fetch_runtime() -> Path:
    """Return the folder of the @litertjs packages (LiteRT.js) in the project's cache.

    If the folder is missing, npm downloads the versions that package-lock.json names.

    Raises:
        UserError: if npm is missing or fails.
    """
    key = hashlib.sha256(b"".join((SOURCES / p).read_bytes() for p in PACKAGES)).hexdigest()[:16]
    folder = find_cache_folder() / "web" / key
    found = folder / "node_modules" / "@litertjs"
    if found.is_dir():
        return found
    npm = shutil.which("npm")  # the whole path, because on Windows npm is a script
    if npm is None:
        raise UserError(
            "--to web and --to apk: npm is not installed; it brings the browser's runtime. Install Node.js 18 or newer, which has it "
            "(https://nodejs.org; Debian: apt-get install npm), then try again."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=folder.parent) as own:
        partial = Path(own) / key
        partial.mkdir()
        for name in PACKAGES:
            shutil.copy(SOURCES / name, partial)
        # npm's own cache is in the home folder, which may not be writable.
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--cache", str(Path(own) / "npm")]
        result = subprocess.run(command, cwd=partial, capture_output=True, text=True)
        if result.returncode:
            reason = next((x for x in result.stderr.splitlines() if "error" in x.lower()), "no reason given")
            raise UserError(
                f"--to web and --to apk: npm could not bring the browser's runtime ({reason[:200]}). Check the network, then try again."
            )
        with contextlib.suppress(OSError):  # another process has downloaded it meanwhile
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
    mark: bool = True,
    runtimes: Sequence[str] = RUNTIMES,
) -> list[dict]:
    """Write the site into a folder.

    Args:
        sources: the networks, each for another task.
        out: an empty folder.
        how: quantisation of the weights, a key of `litert.QUANTIZATIONS`.
        truncation: constant truncation of a generator, 0..1; None: the page shows a slider.
        photos: function from a source to photos, uint8 [N, S, S, 3], with which the exported
            network is calibrated and compared with Keras.
        licence: licence of the weights; None: the licence that the source states.
        subject: noun for what a generator draws, in lower case.
        mark: whether pictures that the page saves say in their metadata what made them.
        runtimes: builds of the runtime, from RUNTIMES, that the site offers.

    Returns:
        A list with the entry of each model file for report.json: a dict with its name, size,
        signatures (exported functions) and the result of the comparison with Keras.
    """
    packages = fetch_runtime()
    for path in SOURCES.iterdir():
        if path.name not in PACKAGES and path.is_file():
            shutil.copy(path, out)
    _copy_runtime(packages, out / "lib", runtimes)
    (out / "models").mkdir()
    noun = subject[0].upper() + subject[1:]
    models, files = [], []
    for source in sources:
        entry, report = _write_model(source, out, how, truncation, photos(source), licence)
        if mark:
            entry["mark"] = marks.make_page_packets(source.mark, truncation)
        models.append({**entry, "subject": subject, **_collect_texts(source.task, noun)})
        files.append(report)
    page = out / "index.html"
    title = " · ".join(dict.fromkeys(s.task.page.title.format(noun) for s in sources))
    text = page.read_text(encoding="utf-8").replace("@TITLE@", title).replace("@PRELOAD@", _list_preloads(out))
    page.write_text(text, encoding="utf-8")
    short = " · ".join(dict.fromkeys(s.task.page.short.format(noun) for s in sources))
    _write_icons(next((s for s in sources if not s.task.from_images), None), title, short, out)
    sizes = {name: (out / "lib" / "wasm" / f"{name}.wasm").stat().st_size for name in runtimes}
    threads = any(f["signatures"][0]["ms"] > _SLOW for f in files)
    (out / SITE).write_text(json.dumps({"models": models, "runtime": sizes, "threads": threads}, indent=1))
    _seal(out)
    return files


def _list_preloads(out: Path) -> str:
    """Return lines of HTML that name what a page asks for at once, so that nothing waits for another.

    Without them a browser learns of a module only when it has read the one that imports it.

    out: folder of the site.
    """
    modules = sorted(p.relative_to(out).as_posix() for p in (*out.glob("*.js"), *out.glob("lib/*.js")))
    lines = [f'<link rel="modulepreload" href="{m}">' for m in modules if m not in ("app.js", "sw.js")]
    return "\n    ".join([*lines, f'<link rel="preload" as="fetch" crossorigin href="{SITE}">'])


def _collect_texts(task: Task, noun: str) -> dict[str, Any]:
    """Return the texts of a task's panel as fields for its entry in site.json.

    noun: what a generator draws, with a capital letter, such as Face.

    Returns:
        dict with the keys title, tab and panel (kind of panel: faces or photo). For tasks that
        take photos, it also has the fields of `tasks.Page` that concern photos.
    """
    page = task.page
    texts: dict[str, Any] = {"title": page.title.format(noun), "tab": page.tab.format(noun), "panel": "faces"}
    if task.from_images:
        photo = {"instruction": page.instruction, "tags": page.tags, "method": page.method, "longest": page.longest}
        texts |= {"panel": "photo", **photo}
    return texts


def _copy_runtime(packages: Path, lib: Path, runtimes: Sequence[str]) -> None:
    """Copy the runtime, LiteRT.js, into the site.

    Args:
        packages: the folder of the @litertjs packages, as `fetch_runtime` returns it.
        lib: folder in the site, to be created.
        runtimes: builds of the runtime, from RUNTIMES.
    """
    (lib / "wasm").mkdir(parents=True)
    code = (packages / "core" / "dist" / "index.js").read_text(encoding="utf-8")
    bare = 'from "@litertjs/wasm-utils"'
    if bare not in code:
        raise UserError(
            f"--to web: {packages / 'core'} is not the version of package-lock.json. Remove {packages.parents[1]}, then try again."
        )
    # A bare name would need an import map, which the page's security policy forbids.
    code = code.replace(bare, 'from "./wasm-utils.js"')
    (lib / "litert.js").write_text(code.rpartition("//# sourceMappingURL")[0] or code, encoding="utf-8")
    helper = (packages / "wasm-utils" / "dist" / "index.js").read_text(encoding="utf-8")
    (lib / "wasm-utils.js").write_text(helper.rpartition("//# sourceMappingURL")[0] or helper, encoding="utf-8")
    for name in runtimes:
        for suffix in (".js", ".wasm"):
            shutil.copy(packages / "core" / "wasm" / f"{name}{suffix}", lib / "wasm")


def _write_model(source: Source, out: Path, how: str, truncation: float | None, photos, licence) -> tuple[dict, dict]:
    """Write the .tflite file of one network.

    Inputs and outputs are float32, because WebGPU supports no integers. Their sizes are fixed,
    because LiteRT.js requires it.

    Args:
        source: the network and what is known about it.
        out: folder of the site.
        how: quantisation of the weights, a key of `litert.QUANTIZATIONS`.
        truncation: constant truncation of a generator, 0..1; None: an input of the file.
        photos: photos for calibration and comparison, uint8 [N, S, S, 3].
        licence: licence of the weights; None: the licence that the source states.

    Returns:
        (entry of the network for site.json, entry of the file for report.json).
    """
    network, task = source.network, source.task.name
    offered = signatures.network_signatures(network, truncation, dynamic=False, pixels="float32")
    plain = litert.convert(network, offered, "float32")

    def quantized(how: str) -> tuple[bytes, litert.Runner, list[dict]]:
        """Return the content of the file, its runner, and its rows of `parity.compare` as dicts."""
        model = litert.quantize(plain, offered, how, photos)
        run = litert.Runner(model)
        rows = parity.compare(offered, run, photos, "float32")
        parity.require(rows, litert.QUANTIZATIONS[how], f"models/{task}.tflite ({how})")
        about = litert.describe_file(source, licence, offered, "float32", how)
        return litert.add_metadata(model, f"{source.name}: {task}", about), run, [asdict(r) for r in rows]

    model, run, rows = quantized(how)
    interface = signatures.describe(offered, "float32")
    report = {"file": f"models/{task}.tflite", "bytes": len(model), "quantize": how, "interface": interface}
    report["signatures"] = rows
    if how == "int8":  # "dynamic" is often better: the report compares them
        with contextlib.suppress(UserError):  # the network's layers may not take "dynamic"
            other, _, theirs = quantized("dynamic")
            report["dynamic"] = {"bytes": len(other), **theirs[0]}
    path = out / "models" / f"{task}.tflite"
    path.write_bytes(model)
    entry = {
        "task": task,
        "file": report["file"],
        "bytes": report["bytes"],
        "sha256": hashlib.sha256(model).hexdigest(),
        "about": source.describe_data(),
        "signatures": {s.name: {"inputs": {n: i.shape for n, i in s.inputs.items()}} for s in offered[::-1]},
        "probe": _make_probe(offered[0], run),
        "classes": [] if source.task.from_images else list(network.classes),
    }
    for name in ("latent_size", "aspect", "scale", "context"):
        if hasattr(network, name):
            entry[name] = getattr(network, name)
    entry |= {} if source.task.from_images else _collect_sliders(source)
    return entry, report


def _collect_sliders(source: Source) -> dict[str, Any]:
    """Return the fields of an entry in site.json about the sliders of a generator of latents.

    Returns:
        dict with the keys weights (what the page files its album under: other weights draw other
        images) and sliders: a list with the number, the name and the direction of each, the
        strongest first. It is empty for an architecture without sliders.
    """
    if not getattr(source.network, "latent_layers", []):
        return {"weights": source.sha256[:16], "sliders": []}
    kernel = sliders.read_kernel(source.network, source.name)
    names = slider_names.read_names(source.folder, sliders.compute_digest(kernel))
    shown = [
        {"number": s.number, "name": s.name, "direction": s.direction.round(6).tolist()}
        for s in sliders.make_sliders(kernel, names)[:_SLIDERS]
    ]
    return {"weights": source.sha256[:16], "sliders": shown}


def _make_probe(signature: signatures.Signature, run: litert.Runner) -> dict:
    """Return pixels that the CPU has computed, with which a page checks the results of its GPU.

    The page creates the same input by itself: the latents of seed 0, or the image of `_draw_waves`.

    Args:
        signature: the signature (exported function) to run.
        run: the exported file.

    Returns:
        dict with the name of the signature, a step, and every step-th value of the flattened image,
        in 0..255. Alpha, if there is any, is premultiplied: invisible colours may differ.
    """
    usual = {"latents": lambda shape: synthesis.latents([0], shape[1]), "truncation": np.ones, "label": np.zeros}
    inputs = {n: usual.get(n, _draw_waves)(i.shape).astype(i.dtype) for n, i in signature.inputs.items()}
    values = transparency.premultiply(pixels.to_uint8(run(signature.name, inputs))).ravel()
    step = len(values) // _PROBE | 1  # odd, so that the values come from many columns
    return {"signature": signature.name, "step": step, "pixels": values[::step].tolist()}


def _draw_waves(shape: tuple[int, ...]) -> np.ndarray:
    """Return a test image, integers in 0..255, with waves of all wavelengths.

    export/web/runtime.js computes the same image.

    shape: (1, H, W, C), the shape of the image.
    """
    _, y, x, c = np.indices(shape)
    return abs((x * y + 85 * c) % 511 - 255)


def draw_icon(faces: Source | None):
    """Return the picture of the icon, a `PIL.Image.Image` in RGB of 512 pixels.

    faces: generator of latents whose image for seed 0 becomes the icon; None: the icon is a disc.
    """
    from PIL import Image, ImageDraw

    if faces is None:
        image = Image.new("RGB", (512, 512), "#f6f5f2")
        ImageDraw.Draw(image).ellipse((96, 96, 416, 416), fill="#3d5afe")
        return image
    network = faces.network
    made = synthesis.Sampler(network, batch=1).images(
        synthesis.latents([0], network.latent_size), network.resolutions[-1], truncation=0.6
    )[0]
    made = transparency.flatten(made)
    square = decode.cut_square(Image.fromarray(made.squeeze(-1) if made.shape[-1] == 1 else made), min(made.shape[:2]))
    image = Image.fromarray(square.squeeze(-1) if square.shape[-1] == 1 else square).convert("RGB")
    return image.resize((512, 512), Image.Resampling.BICUBIC)


def _write_icons(faces: Source | None, name: str, short: str, out: Path) -> None:
    """Write the icons and the web app manifest of the site.

    Args:
        faces: generator of latents whose image for seed 0 becomes the icon; None: the icon is a
            disc.
        name: name of the site, for the manifest.
        short: name that is shown below the icon.
        out: folder of the site.
    """
    from PIL import Image

    image = draw_icon(faces)
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
    """Write the version and the list of the site's files into the service worker sw.js.

    The service worker keeps the site usable offline: it caches small files when it is installed,
    and large ones when they are first used. Call this after all other files have been written.

    out: folder of the site.
    """
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
