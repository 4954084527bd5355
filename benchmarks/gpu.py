"""Measure training steps on a GPU by JAX, beside PyTorch's, on a machine without TensorFlow.

It runs the files of `benchmarks.xla`, ends within its minutes, and writes results.json after every
measurement, so that nothing is lost if it is stopped. It needs NumPy and JAX; PyTorch is measured if
it is there.

python -m benchmarks.xla --resolutions 64,256 --sizes small,phone,paper --precisions bfloat16,float32 \
    --objectives wgan-gp,default --folder steps --checked 0 --photos 4000    # where TensorFlow is
python -m benchmarks.gpu steps --out results                                 # where the GPU is
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np

# Before JAX is imported. PyTorch is measured in the same call and needs memory, too.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

PHOTOS = "photos.npz"  # images uint8 [N, 64, 64, 3], which `benchmarks.xla --photos` writes
MINUTES, MOST_TRAINING = 9.5, 480.0  # minutes of the whole, and seconds of the training at its end
# PyTorch's forms: name -> arguments of `peers.images_per_second`.
PEERS = {
    "eager": {"best": False},
    "autocast, channels_last": {"best": True},
    "torch.compile, autocast, channels_last": {"best": True, "compiled": True},
}
# What is measured first, while there is time: resolutions, objectives, sizes.
ORDER = {
    "resolution": (64, 256, 128, 1024, 32, 512),
    "objective": ("wgan-gp", "default"),
    "size": ("small", "phone", "paper"),
}


class Clock:
    """Tells the time left of a number of minutes."""

    def __init__(self, minutes: float):
        self.begun, self.minutes = time.monotonic(), minutes

    def spent(self) -> float:
        """Return the seconds since the beginning."""
        return time.monotonic() - self.begun

    def left(self) -> float:
        """Return the seconds until the end."""
        return 60 * self.minutes - self.spent()


class Program:
    """A module that JAX's XLA has compiled for its first device."""

    def __init__(self, content: np.ndarray):
        import jax
        from jaxlib import xla_client

        computation = xla_client.XlaComputation(content.tobytes())
        text = xla_client._xla.mlir.xla_computation_to_mlir_module(computation)
        device, options = jax.devices()[0], xla_client.CompileOptions()
        begun = time.perf_counter()
        try:
            self.executable = device.client.compile_and_load(text, xla_client.DeviceList((device,)), options)
        except AttributeError:  # of JAX before 0.7
            self.executable = device.client.compile(text, options)
        self.seconds = time.perf_counter() - begun

    def memory(self) -> int | None:
        """Return the bytes that the program needs, its inputs included; None if XLA does not tell."""
        with contextlib.suppress(Exception):
            found = self.executable.get_compiled_memory_stats()
            return found.temp_size_in_bytes + found.argument_size_in_bytes
        return None

    def __call__(self, arrays: list) -> list:
        """Run the program on arrays of the device, and return its results; it may use up the arrays."""
        return self.executable.execute(arrays)


class Training:
    """A training step of a file of `benchmarks.xla`, and the state that it changes.

    Args:
        file: the file.
        precise: whether convolutions are computed in whole float32 in place of TF32.
    """

    def __init__(self, file: Path, precise: bool = False):
        import jax

        self.data, self.steps = np.load(file), 0
        self.about = json.loads(str(self.data["about"]))
        kind = "whole" if precise else "hlo"
        self.programs = [Program(self.data[f"{kind}_{i}"]) for i in range(len(self.about["programs"]))]
        rng = np.random.default_rng(0)
        self.state = {name: jax.device_put(self._value(name, rng)) for name in self.about["values"]}

    def _value(self, name: str, rng: np.random.Generator) -> np.ndarray:
        """Return the first value of a parameter: that of the file, or one like it."""
        if f"value/{name}" in self.data:
            return self.data[f"value/{name}"]
        told = self.about["values"][name]
        if told["like"] == "normal":
            return rng.standard_normal(told["shape"]).astype(told["type"])
        return np.full(told["shape"], told["like"], told["type"])

    def step(self, pixels=None):
        """Take a step, with other pixels if they are given; return its losses on the device.

        The host knows which steps have the lazy penalty, as in a training.
        """
        if pixels is not None:
            self.state["pixels"] = pixels
        lazy = len(self.programs) > 1 and self.steps % self.about["every"] > 0
        program, told = self.programs[lazy], self.about["programs"][lazy]
        stats, *changed = program([self.state[name] for name in told["names"]])
        for parameter, value in zip(told["results"], changed, strict=True):
            self.state[told["names"][parameter]] = value
        self.steps += 1
        return stats

    def measure(self, seconds: float) -> dict:
        """Return the speed of the step, measured for some seconds, and what is known of it."""
        for _ in range(3):
            begun = time.perf_counter()
            np.asarray(self.step())
        # As many steps as from one lazy penalty to the next; where steps take long, fewer have to do.
        group = max(1, min(self.about["every"], 16, int(seconds / (time.perf_counter() - begun))))
        steps, begun = 0, time.perf_counter()
        while time.perf_counter() - begun < seconds:
            for _ in range(group):
                stats = self.step()
            steps += group
            np.asarray(stats)
        taken = time.perf_counter() - begun
        batch = self.about["batch"]
        return {
            "images_per_second": batch * steps / taken,
            "ms": 1000 * taken / steps,
            "gflop_per_second": self.about["gflop"] * steps / taken,
            "compiled_in": sum(program.seconds for program in self.programs),
            "bytes": self.programs[0].memory(),
            "finite": bool(np.isfinite(np.asarray(stats)).all()),
        }

    def draw(self) -> np.ndarray:
        """Return a grid of the moving average, uint8 [N, R, R, C]."""
        import jax

        inputs = [jax.device_put(self.data["latents"]), *(self.state[name] for name in self.about["sampler"][1:])]
        (images,) = Program(self.data["sampler"])(inputs)
        return np.clip(np.rint(np.asarray(images) * 127.5 + 127.5), 0, 255).astype(np.uint8)


def find_peak(kind: str, seconds: float = 1.0) -> float:
    """Return the speed of the fastest of a few large convolutions, in GFLOP/s.

    kind: 'float32', 'tf32' or 'bfloat16'.
    """
    import jax
    from jax import lax

    dtype = "bfloat16" if kind == "bfloat16" else "float32"
    precision = lax.Precision.HIGHEST if kind == "float32" else lax.Precision.DEFAULT
    small = jax.devices()[0].platform == "cpu"
    best = 0.0
    for batch, size, maps in ((4, 16, 64),) if small else ((64, 32, 512), (64, 64, 256), (32, 128, 128)):
        x, w = jax.numpy.ones((batch, size, size, maps), dtype), jax.numpy.ones((3, 3, maps, maps), dtype)

        @jax.jit
        def chain(x, w):
            for _ in range(8):
                x = lax.conv_general_dilated(
                    x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), precision=precision
                )
            return x

        chain(x, w).block_until_ready()
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            begun = time.perf_counter()
            chain(x, w).block_until_ready()
            best = max(best, 8 * 2 * batch * size**2 * maps**2 * 9 / (time.perf_counter() - begun) / 1e9)
    return best


def measure_peer(about: dict, form: dict, seconds: float, timeout: float) -> dict:
    """Return {images_per_second}, or {error}, of a form of PyTorch at the shape of a step."""
    options = about["options"]
    arguments = {
        "resolution": about["resolution"],
        "batch": about["batch"],
        "latent": options["latent_size"],
        "base": options["fmap_base"],
        "most": options["fmap_max"],
        "seconds": seconds,
        **form,
    }
    code = (
        "import json, sys, torch; from benchmarks.peers import images_per_second as f; "
        "print(f(**json.loads(sys.argv[1]), device='cuda' if torch.cuda.is_available() else 'cpu'))"
    )
    try:
        command = [sys.executable, "-c", code, json.dumps(arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, cwd=Path(__file__).parents[1])
    except subprocess.TimeoutExpired:
        return {"error": f"more than {timeout:.0f} s"}
    if done.returncode:
        return {"error": done.stderr.strip()[-300:]}
    return {"images_per_second": float(done.stdout.split()[-1])}


def write_png(file: Path, image: np.ndarray) -> None:
    """Write a picture uint8 [H, W, 3] as .png."""
    height, width, _ = image.shape
    rows = b"".join(b"\0" + row.tobytes() for row in image)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def tile(images: np.ndarray) -> np.ndarray:
    """Return images uint8 [N, R, R, C] as one picture of nearly as many rows as columns."""
    columns = int(np.ceil(len(images) ** 0.5))
    lacking = -len(images) % columns
    images = np.concatenate([images, np.zeros((lacking, *images.shape[1:]), np.uint8)])
    rows = [np.concatenate(list(images[i : i + columns]), axis=1) for i in range(0, len(images), columns)]
    return np.concatenate(rows, axis=0)


def train(file: Path, photos: np.ndarray, out: Path, seconds: float) -> dict:
    """Train with photos for some seconds, write the grid of the moving average, and return figures.

    Args:
        file: file of `benchmarks.xla`, at the resolution of the photos.
        photos: uint8 [N, R, R, 3].
        out: the folder of the results.
        seconds: how long, compilation and grid included.
    """
    import jax

    begun = time.perf_counter()
    training = Training(file)
    rng, batch, seen, losses = np.random.default_rng(0), training.about["batch"], 0, []
    while time.perf_counter() - begun < seconds - 15:
        for _ in range(50):
            pixels = photos[rng.integers(0, len(photos), batch)]
            mirrored = rng.integers(0, 2, batch).astype(bool)
            pixels[mirrored] = pixels[mirrored, :, ::-1]
            stats = training.step(jax.device_put(pixels))
            seen += batch
            if time.perf_counter() - begun > seconds - 15:
                break
        losses.append([float(x) for x in np.asarray(stats)[:2]])
    taken = time.perf_counter() - begun
    write_png(out / "grid.png", tile(training.draw()))
    return {"file": file.name, "images": seen, "seconds": taken, "losses": losses[:: max(1, len(losses) // 20)]}


def place(about: dict) -> tuple:
    """Return the place of a file in the order of measurements."""
    return tuple(ORDER[name].index(about[name]) if about[name] in ORDER[name] else 99 for name in ORDER)


def print_table(results: dict) -> None:
    """Print the steps, and PyTorch's forms beside those that take the same step."""
    for row in results["steps"]:
        peers = {k: v.get("images_per_second") for k, v in row.get("peers", {}).items()}
        best = max((v for v in peers.values() if v), default=None)
        ratio = f"{row['images_per_second'] / best:6.2f} x the best of PyTorch" if best else ""
        share = f"{row['share_of_peak']:5.0%} of the peak"
        name = f"{row['resolution']:5} px {row['size']:6} {row['kind']:9} {row['objective']:8}"
        print(f"{name} {row['images_per_second']:10,.1f} images/s {share} {ratio}", flush=True)


def main(words: list[str] | None = None) -> None:
    """Measure everything that there is time for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="folder with files of benchmarks.xla")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for results.json and grid.png")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="minutes for everything")
    parser.add_argument("--training", type=float, default=0.3, help="share of the minutes for the training at the end")
    parser.add_argument("--seconds", type=float, default=3.0, help="seconds of each measurement")
    chosen = parser.parse_args(words)
    clock = Clock(chosen.minutes)
    import jax

    jax.config.update("jax_enable_x64", True)  # the images seen are counted in 64 bits
    chosen.out.mkdir(parents=True, exist_ok=True)
    device = jax.devices()[0]
    results: dict = {
        "device": device.device_kind,
        "platform": device.platform,
        "jax": jax.__version__,
        "peaks": {},
        "steps": [],
    }

    def save() -> None:
        results["seconds"] = clock.spent()
        partial = chosen.out / "results.json.partial"
        partial.write_text(json.dumps(results, indent=1))
        partial.replace(chosen.out / "results.json")

    for kind in ("bfloat16", "tf32", "float32"):
        results["peaks"][kind] = find_peak(kind, min(1.0, chosen.seconds))
        save()
    files = {file: json.loads(str(np.load(file)["about"])) for file in chosen.folder.glob("*-*.npz")}
    kept = min(MOST_TRAINING, 60 * chosen.minutes * chosen.training) if (chosen.folder / PHOTOS).is_file() else 0.0
    for file in sorted(files, key=lambda file: (*place(files[file]), file.name)):
        about = files[file]
        kinds = ("bfloat16",) if about["precision"] == "bfloat16" else ("tf32", "float32")
        for kind in kinds:
            if clock.left() < kept + 40 + 2 * chosen.seconds:
                results["left_out"] = [*results.get("left_out", []), f"{file.name} {kind}"]
                continue
            row = {name: about[name] for name in ("resolution", "size", "objective", "batch", "parameters")} | {
                "kind": kind
            }
            try:
                row |= Training(file, precise=kind == "float32").measure(chosen.seconds)
            except Exception as error:  # such as too little memory; the others are measured all the same
                results["failed"] = [*results.get("failed", []), {**row, "error": str(error)[:300]}]
                save()
                continue
            row["share_of_peak"] = row["gflop_per_second"] / results["peaks"][kind]
            if about["objective"] == "wgan-gp" and about["options"]["conv"] == "standard" and kind != "float32":
                row["peers"] = {}
                for name, form in PEERS.items():
                    room = clock.left() - kept - 10
                    if form["best"] == (kind == "bfloat16") and room > 20:
                        row["peers"][name] = measure_peer(about, form, chosen.seconds, room)
            results["steps"].append(row)
            save()
            print_table({"steps": [row]})
    trained = [f for f, a in files.items() if a["objective"] == "default"]
    if kept and clock.left() > 30:
        with np.load(chosen.folder / PHOTOS) as opened:
            photos = opened["images"]
        fitting = [
            f for f in sorted(trained, key=lambda f: place(files[f])) if files[f]["resolution"] == photos.shape[1]
        ]
        if fitting:
            results["training"] = train(fitting[0], photos, chosen.out, min(MOST_TRAINING, clock.left() - 10))
            save()
    print(
        f"{device.device_kind}: {len(results['steps'])} steps in {clock.spent():.0f} s; {chosen.out / 'results.json'}"
    )


if __name__ == "__main__":
    main()
