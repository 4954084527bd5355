"""Memory of real processes. Those that train are minutes long and write 3 GB, so marked slow."""

import json
import resource
import subprocess
import sys

import numpy as np
import pytest

from pggan_tf.data import shards
from tests.conftest import ROOT, TINY

# Prints the process's memory in MB at every tick.
WATCHED = """
import json, sys, psutil
from pggan_tf.commands import cli
from pggan_tf.training import callbacks
tick, memory = callbacks.StatsWriter.tick, []
def watched(self, run, stats):
    tick(self, run, stats)
    memory.append((run.images_seen, run.phase.index, psutil.Process().memory_info().rss / 2**20))
callbacks.StatsWriter.tick = watched
code = cli.main(sys.argv[1:])
print(json.dumps(memory))
sys.exit(code)
"""

# Prints by how many MB the peak rises when a generator that begins at 32 pixels is finished; maps of all its latents at once would
# be 512 MB each.
SETTLED = """
import sys
from pathlib import Path
from pggan_tf import synthesis
from pggan_tf.networks.progressive import Generator
def peak():  # of this program: getrusage begins with what the one before it, that started it, had
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
generator = Generator((32,), fmap_max=32, latent_size=8, generator_norm=sys.argv[1])
generator.build()
generator(synthesis.calibration_latents(8, 16))
before = peak()
synthesis.finish(generator, synthesis.calibration_latents(8))
print(peak() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("norm", ["batch", pytest.param("pixel", marks=pytest.mark.slow)])
def test_a_generator_that_begins_large_is_finished_in_little_memory(norm):
    command = [sys.executable, "-c", SETTLED, norm]
    risen = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert float(risen) < 300


def noise(folder, count, size=64):
    """Shards of noise: written 4096 images at a time."""
    writer = shards.Writer(folder, shards.halve_resolution(size), source="noise", shard_images=4096)
    rng = np.random.default_rng(0)
    for _ in range(count // 4096):
        for image in rng.integers(0, 256, (4096, size, size, 3), np.uint8):
            writer.add(image)
    writer.close()
    return sum(p.stat().st_size for p in folder.iterdir()) / 2**20


def memory_of(data, runs, *arguments):
    command = [sys.executable, "-c", WATCHED, "train", "--data", data, *TINY, "--runs", runs, *arguments]
    result = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(result.stdout.strip().splitlines()[-1])


@pytest.mark.slow
def test_memory_does_not_grow_with_the_dataset(tmp_path):
    sizes = {"small": noise(tmp_path / "small", 4096), "large": noise(tmp_path / "large", 46 * 4096)}
    assert sizes["small"] < 70 and sizes["large"] > 2900
    schedule = ["--target-res", "64", "--fade-images", "640", "--stable-images", "6400", "--batch", "32"]
    peak = {name: max(m for _, _, m in memory_of(tmp_path / name, tmp_path / "runs", *schedule)) for name in sizes}
    print(sizes, peak)
    assert peak["large"] - peak["small"] < 200


@pytest.mark.slow
def test_memory_stays_flat_over_a_run(tmp_path):
    noise(tmp_path / "small", 4096)
    marks = memory_of(
        tmp_path / "small", tmp_path / "runs", "--target-res", "8", "--fade-images", "2000", "--stable-images", "300000",
        "--batch", "32", "--snapshot-images", "10000", "--checkpoint-minutes", "0.05",
    )  # fmt: skip
    last = [m for _, phase, m in marks if phase == marks[-1][1]]
    early, late = np.median(last[len(last) // 10 : len(last) // 5]), np.median(last[-len(last) // 10 :])
    print(early, late, len(last), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
    assert late - early < 40
