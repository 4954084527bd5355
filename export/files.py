"""Write the files of an export, except web sites: .tflite, .keras, SavedModel, ONNX, Core ML, samples.

Every file is compared with Keras before it is accepted. For the words source, signature and entry,
see `export.build`.
"""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from pggan_tf.errors import UserError


@dataclass(frozen=True)
class Options:
    """Values of the options of `pggan export`. None: the user has not given the option."""

    quantize: str | None = None
    everything: bool = False  # --all
    output: str | None = None  # type of the pixels, uint8 or float32
    truncation: float | None = None
    representative: str | None = None
    licence: str | None = None
    subject: str | None = None  # noun for what a generator draws, such as horse
    no_mark: bool = False  # whether pictures say nothing in their metadata
    name: str | None = None  # name of an app
    app_id: str | None = None  # application id of an app
    version_code: int | None = None  # version code of an app
    key: str | None = None  # file of the key that signs an app

    @property
    def kind(self) -> str:
        """Type of the output pixels: uint8 unless the user chose float32."""
        return self.output or "uint8"


def write_files(source, formats, out: Path, options: Options, photos) -> list[dict]:
    """Write the files of one source in all requested formats except web.

    Args:
        source: the source.
        formats: the requested formats, from FORMATS.
        out: folder of the files.
        options: the options of the command.
        photos: photos for examples, uint8 [N, S, S, 3]; empty for a generator of latents.

    Returns:
        Their entries for report.json.
    """
    import tensorflow as tf

    from export import litert, onnx, parity, signatures

    network, kind = source.network, options.kind
    offered = signatures.network_signatures(network, options.truncation)

    def compare(name: str, size: int, run, offered=offered, how: str = "none", advice=None, **more) -> dict:
        """Compare a file with Keras and return its entry, or raise UserError if they differ.

        Args as of `parity.compare` and `parity.require`; `how` is the file's quantisation.
        """
        rows = parity.compare(offered, run, photos, kind, **more)
        parity.require(rows, litert.QUANTIZATIONS[how], name, advice)
        report = {"file": name, "bytes": size, "quantize": how, "interface": signatures.describe(offered, kind)}
        return {**report, "signatures": [asdict(r) for r in rows]}

    files = _write_tflite(source, offered, out, options, photos, compare) if "tflite" in formats else []
    if "keras" in formats:
        file = _write_keras(source, out)
        size = file.stat().st_size
        files.append({"file": file.name, "bytes": size, "quantize": "none", "interface": {}, "signatures": []})
    if "savedmodel" in formats:
        folder = out / "saved_model"
        version = str(folder / "1")  # TensorFlow Serving serves the highest number in a folder
        litert.write_saved_model(network, offered, version, kind)
        loaded = tf.saved_model.load(version)

        def run(name, inputs):
            return loaded.signatures[name](**{k: tf.constant(v) for k, v in inputs.items()})["image"].numpy()

        size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
        files.append(compare("saved_model", size, run))
    if "onnx" in formats:
        outputs = onnx.select_signatures(offered)
        model = onnx.convert(outputs, kind)
        (out / "generator.onnx").write_bytes(model)
        files.append(compare("generator.onnx", len(model), onnx.Runner(model), outputs))
    if "coreml" in formats:
        files.append(_write_coreml(source, out, options, compare))
    return files


def _write_coreml(source, out: Path, options: Options, compare) -> dict:
    """Write generator.mlpackage and return its entry for report.json.

    compare: function of `write_files` that compares a file with Keras and returns its entry.
    """
    from export import coreml, signatures

    # Its shapes are fixed: Core ML runs flexible ones on few of its devices.
    offered = signatures.network_signatures(source.network, options.truncation, dynamic=False, pixels="float32")
    package = out / coreml.NAME
    coreml.convert(offered, options.kind, package, coreml.describe_source(source, options.licence))
    run, size = coreml.Runner(package, options.kind), coreml.measure_size(package)
    examples = coreml.PHOTOS if source.task.from_images else None
    entry = compare(package.name, size, run, offered, "float16", coreml.ADVICE, timed=False, examples=examples)
    return {**entry, "interface": coreml.describe(offered, options.kind)}


def _write_tflite(source, offered, out: Path, options: Options, photos, compare) -> list[dict]:
    """Write a .tflite file for every requested quantisation.

    Args:
        source: the source.
        offered: the signatures of the files.
        out: folder of the files.
        options: the options of the command.
        photos: photos for examples, see `write_files`.
        compare: function of `write_files` that compares a file with Keras and returns its entry.

    Returns:
        The entries of the files for report.json.
    """
    from export import gpu, litert

    def quantized(how: str) -> tuple[bytes, dict]:
        """Return the content and the entry of the file with quantisation `how`."""
        name = "generator.tflite" if how == "none" else f"generator-{how}.tflite"
        about = litert.describe_file(source, options.licence, offered, options.kind, how)
        model = litert.quantize(plain, offered, how, photos)
        model = litert.add_metadata(model, f"{source.name}: {source.task.name}", about)
        entry = compare(name, len(model), litert.Runner(model), how=how)
        return model, {**entry, "gpu": {"rules": gpu.SOURCE, "falls_back": gpu.find_fallbacks(model)}}

    plain, files = litert.convert(source.network, offered, options.kind), {}
    for how in litert.QUANTIZATIONS if options.everything else [options.quantize or "none"]:
        model, files[how] = quantized(how)
        (out / files[how]["file"]).write_bytes(model)
    if "int8" in files:  # "dynamic" is often better: the report compares them
        with contextlib.suppress(UserError):  # "dynamic" may not support the network's layers
            other = files.get("dynamic") or quantized("dynamic")[1]
            files["int8"]["dynamic"] = {"bytes": other["bytes"], **other["signatures"][0]}
    return list(files.values())


def _write_keras(source, out: Path) -> Path:
    """Write generator.keras, with the names of its sliders if it has any, and return its path.

    A .keras file is a zip archive. Its members are written beside it, too, because model hubs and
    Keras's hf:// read them.
    """
    from pggan_tf.runs import keras_files, slider_names

    file, names = out / keras_files.GENERATOR, source.folder / slider_names.FILE
    if names.is_file():
        shutil.copy(names, out)
    if source.file.suffix == file.suffix:
        shutil.copy(source.file, file)
    else:  # a folder that Keras wrote
        source.network.save(file)
    keras_files.unpack(file, out)
    return file


def write_samples(source, out: Path, truncation: float | None, drawn: bool = False, mark: bool = True) -> bool:
    """Write samples.png: generated images or, if the network takes photos, the run's newest grid.

    A grid is a picture of samples that training writes (fakes-*.png). It shows photos of the run's
    data.

    Args:
        source: the source.
        out: folder of the file.
        truncation: truncation of the images, 0..1; None: 1.
        drawn: show drawn portraits and what the network makes of them in place of the grid.
        mark: whether the picture says in its metadata what made it.

    Returns:
        True if the file was written, False if the run has no grid.
    """
    from pggan_tf import synthesis
    from pggan_tf.data import marks, pixels

    network, packet = source.network, marks.make_packet(source.mark if mark else None)
    if not source.task.from_images:
        images = synthesis.Sampler(network).images(
            synthesis.latents(range(16), network.latent_size),
            network.resolutions[-1],
            truncation=1.0 if truncation is None else truncation,
        )
        pixels.save_grid(out / "samples.png", images, size=64, packet=packet)
        return True
    if drawn:
        pixels.save_grid(out / "samples.png", _convert_portraits(source), columns=4, size=64, packet=packet)
        return True
    for newest in sorted(source.folder.glob("fakes-*.png"))[-1:]:
        shutil.copy(newest, out / "samples.png")
        return True
    return False


def _convert_portraits(source) -> np.ndarray:
    """Return four drawn portraits, and after them what the network makes of each of them.

    source: a source whose network takes photos.

    Returns:
        uint8 [8, S, S, 3], where S is the side of an image that the network makes.
    """
    from pggan_tf.conversion import conversion
    from pggan_tf.data import colour, portraits

    scale = source.network.scale
    before = np.stack([portraits.draw(i, min(source.network.resolutions[-1], 128) // scale) for i in range(4)])
    if source.task.sees_gray:
        before = np.rint(colour.to_gray(before)).astype(np.uint8).repeat(3, axis=-1)
    after = conversion.convert_images(before, source.task.converter(source.network))
    return np.concatenate([before.repeat(scale, axis=1).repeat(scale, axis=2), after])
