"""Results of jobs, made in a helper and kept in the run's folder: walks, projections, exports.

See `made`, which finds them again.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from pggan_tf import synthesis
from pggan_tf.data import marks, pixels, transparency
from pggan_tf.errors import UserError, explain_out_of_memory
from pggan_tf.studio.made import SHOWN, note
from pggan_tf.studio.making import MOST_PIXELS, measure_photo, open_generator

FPS, MOST_SECONDS, MOST_KEYS, STEPS = 30, 60, 64, 400
_SHOWN = 128  # smallest size in pixels of an image in a picture
_NEAREST = 6  # training photos for each seed


def _make_place(args: dict) -> Path:
    """Return the folder of a result, which is made if needed."""
    place = Path(args["out"])
    place.mkdir(parents=True, exist_ok=True)
    return place


@explain_out_of_memory("a walk is made", "Ask for a smaller stage or fewer seconds.")
def make_walk(args: dict, progress) -> dict:
    """Write a video that walks between seeds into the folder args["out"], as `pggan interpolate` does.

    args: run, seeds, seconds, stage, truncation, class_name, out. Returns what is noted about it.
    """
    from pggan_tf.explore import video as videos
    from pggan_tf.explore import walks

    generator, numbers = open_generator(args), synthesis.parse_seeds(args["seeds"])
    generator.require_latents()
    if not 2 <= len(numbers) <= MOST_KEYS:
        raise UserError(f"seeds {args['seeds']}: {len(numbers)}; expected 2 to {MOST_KEYS} to walk between.")
    stage = generator.choose_stage(args["stage"])
    file = _make_place(args) / SHOWN["walk"]
    videos.check_size(file, *walks.get_frame_size(generator.network.shape_at(stage), 1, 1))
    keys = synthesis.latents(numbers, generator.network.latent_size)[:, None]
    labels = synthesis.choose_labels(generator.network, generator.name, args["class_name"], [numbers[0]])
    frames = walks.interpolate(keys, max(2, round(args["seconds"] * FPS)), loop=True)
    drawn = walks.draw_frames(
        synthesis.Sampler(generator.network), frames, stage, 1, labels, args["truncation"], progress
    )
    videos.write(file, drawn, FPS, marks.make_packet(generator.mark))
    about = {name: args[name] for name in ("seeds", "seconds", "truncation")}
    return note(file.parent, about | {"stage": stage, "class": args["class_name"]})


@explain_out_of_memory("nearest photos are looked for", "Take a machine with more memory.")
def find_nearest(args: dict, progress) -> dict:
    """Write a seed and the training photos nearest to it into a folder, as `pggan neighbours` does.

    args: run, seed, truncation, out. Returns {seed, truncation, numbers, distances, text}.
    """
    from pggan_tf.report import nearest
    from pggan_tf.report.runs import read_run

    generator, run = open_generator(args), read_run(args["run"])
    generator.require_latents()
    shards = nearest.open_training_data(run)
    found = nearest.compare_samples(
        synthesis.Sampler(generator.network), shards, [args["seed"]], _NEAREST, run.config.images.mirror,
        truncation=args["truncation"], held_out=run.config.images.held_out,
    )  # fmt: skip
    place = _make_place(args)
    pixels.save(place / SHOWN["nearest"], found.draw(1))
    about = {
        "seed": args["seed"],
        "truncation": args["truncation"],
        "numbers": [int(n) for n in found.numbers[0]],
        "distances": [round(float(d), 4) for d in found.distances[0]],
        "text": found.describe(1),
    }
    return note(place, about)


@explain_out_of_memory("a photo is projected", "Take a machine with more memory.")
def project(args: dict, progress) -> dict:
    """Find the latent whose image is nearest to a photo, as `pggan project` does.

    args: run, photo, name (of the photo), stage, out (a folder). Returns {name, stage, psnr, psnr_before}.
    """
    from pggan_tf.data import decode
    from pggan_tf.explore.projection import project as search
    from pggan_tf.metrics import psnr

    generator, photo = open_generator(args), Path(args["photo"])
    generator.require_latents()
    width, height = measure_photo(photo)
    if width * height > MOST_PIXELS:
        raise UserError(f"a photo of {width:,} x {height:,} pixels: more than {MOST_PIXELS:,}. Send a smaller one.")
    stage = generator.choose_stage(args["stage"])
    picture = decode.decode_photo(photo.read_bytes(), generator.network.channels)
    target = decode.cut(picture, generator.network.shape_at(stage))
    found = search(generator.network, target, STEPS, None, 0, progress)
    place = _make_place(args)
    packet = marks.make_packet(generator.mark and marks.Mark(marks.CHANGED, generator.mark.run, generator.mark.weights))
    np.save(place / "latent.npy", found.latent[None])
    triple = np.stack([transparency.unpremultiply(target), found.start, found.image])
    pixels.save_grid(place / SHOWN["project"], triple, columns=3, size=_SHOWN, packet=packet)
    flat = transparency.flatten(triple)
    before, after = map(float, psnr.compute_each(flat[[0, 0]], flat[1:]))
    about = {"psnr": after if after < np.inf else None, "psnr_before": before if before < np.inf else None}
    return note(place, {"name": args["name"], "stage": stage, **about})


def export(args: dict, progress) -> None:
    """Export a run in one format, as `pggan export` does.

    args: run, format, name, out (a folder of its own, which is replaced).
    """
    from pggan_tf import api

    place, format = Path(args["out"]), args["format"]
    partial = place.with_name(f".{place.name}.new")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    progress(0, 1, f"exporting to {format}")
    try:
        if format == "apk":
            options = {"name": args["name"]} if args["name"] else {}
            api.export(args["run"], partial / "app.apk", "apk", **options)
        else:
            api.export(args["run"], partial / "out", format)
        shutil.rmtree(place, ignore_errors=True)
        (partial if format == "apk" else partial / "out").rename(place)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
