"""Pictures of a generator, made at once in a helper. Files are written where the server asks."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from pggan_tf import synthesis
from pggan_tf.api import converting
from pggan_tf.api.generators import Generator
from pggan_tf.api.runs import Run
from pggan_tf.data import marks, pixels
from pggan_tf.errors import Unreadable, UserError, explain_out_of_memory
from pggan_tf.explore import sliders as latent_sliders

# Accepted formats of photos; rarer decoders could have security flaws.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
MOST_SEEDS = 256  # of a sheet
MOST_PIXELS = 16_000_000  # of a picture
_SHOWN_SLIDERS = 12


@functools.lru_cache(maxsize=4)
def open_run(folder: str) -> Run:
    """Return the run in a folder. Its generator is loaded anew only after training wrote a newer one."""
    return Run(folder)


def open_generator(args: dict) -> Generator:
    """Return the generator of the run in args["run"]."""
    return open_run(args["run"]).generator


def describe_generator(args: dict, progress) -> dict:
    """Return what a generator can be asked for."""
    generator = open_generator(args)
    task, count = generator._task, 0
    if not task.from_images and getattr(generator.network, "latent_layers", []):
        count = len(generator.sliders)
    return {
        "task": generator.task,
        "verb": task.verb,
        "stages": list(generator.stages),
        "classes": list(generator.classes),
        "latent_size": generator.latent_size,
        "scale": generator.scale,
        "hints": bool(getattr(task, "hints", False)),
        "sliders": min(count, _SHOWN_SLIDERS),
    }


def _check_size(height: int, width: int) -> None:
    """Raise UserError if a picture has too many pixels."""
    if height * width > MOST_PIXELS:
        raise UserError(f"{width:,} x {height:,} pixels are too many. Ask for fewer or smaller images.")


@explain_out_of_memory("images are made", "Ask for fewer seeds or a smaller stage.")
def draw_faces(args: dict, progress) -> str:
    """Write a sheet of seeds to args["out"], as `pggan generate --grid` does.

    args: run, seeds, stage, truncation, class_name, sliders, columns, out.
    """
    generator, numbers = open_generator(args), synthesis.parse_seeds(args["seeds"])
    if len(numbers) > MOST_SEEDS:
        raise UserError(f"seeds {args['seeds']}: {len(numbers):,}; expected at most {MOST_SEEDS}.")
    generator.require_latents()
    columns = args["columns"]
    shape = generator.network.shape_at(generator.choose_stage(args["stage"]))
    _check_size(*pixels.Sheet(len(numbers), columns, 1).size(*pixels.find_enlarged_shape(shape, pixels.VISIBLE)))
    images = generator.sample(numbers, **_take_sampling(args))
    usual = columns is None or columns == pixels.Sheet(len(numbers)).columns
    mark = images.mark if usual or images.mark is None else images.mark.without_seeds()
    pixels.save(args["out"], np.asarray(images.grid(columns)), marks.make_packet(mark))
    return args["out"]


def _take_sampling(args: dict) -> dict:
    return {name: args[name] for name in ("stage", "truncation", "class_name", "sliders")}


@explain_out_of_memory("an image is made", "Ask for a smaller stage.")
def draw_face(args: dict, progress) -> str:
    """Write one image to args["out"]: of a seed, or between two.

    args: run, seed, to, mix, stage, truncation, class_name, sliders, scale, out.
    """
    generator = open_generator(args)
    generator.require_latents()
    stage, seed = generator.choose_stage(args["stage"]), args["seed"]
    if args["to"] is None:
        images = np.asarray(generator.sample([seed], **_take_sampling(args)))
        known = not args["sliders"] and not args["scale"]
        mark = generator.mark
        if known:
            mark = generator.mark_samples([seed], marks.IMAGE, stage, args["truncation"], args["class_name"])
    else:
        pair = synthesis.latents([seed, args["to"]], generator.network.latent_size)
        latents = synthesis.slerp(pair[:1], pair[1:], np.array([args["mix"]]))[0].astype(np.float32)
        if move := generator._make_move(args["sliders"] or {}):
            latents = move(latents)
        labels = synthesis.choose_labels(generator.network, generator.name, args["class_name"], [seed])
        sampler = synthesis.Sampler(generator.network)
        images, mark = sampler.images(latents, stage, truncation=args["truncation"], labels=labels), generator.mark
    if args["scale"]:
        images = pixels.enlarge(images, args["scale"])
    _check_size(*images.shape[1:3])
    pixels.save(args["out"], images[0], marks.make_packet(mark))
    return args["out"]


def list_sliders(args: dict, progress) -> list[dict]:
    """Return the strongest sliders of a run: {index, name, strength}."""
    generator = open_generator(args)
    chosen = generator.choose_sliders(min(_SHOWN_SLIDERS, len(generator.sliders)))
    return [{"index": s.number, "name": s.name, "strength": round(s.strength, 3)} for s in chosen]


def draw_strip(args: dict, progress) -> str:
    """Write what one slider changes to args["out"]. args: run, index, seeds, stage, truncation, out."""
    from pggan_tf.report import strips

    generator = open_generator(args)
    slider = _find_slider(generator, args["index"])
    numbers = synthesis.parse_seeds(args["seeds"])[:4]
    stage = generator.choose_stage(args["stage"])
    _check_size(*strips.get_size([slider], len(numbers), generator.network.shape_at(stage)))
    labels = synthesis.choose_labels(generator.network, generator.name, None, numbers)
    z = synthesis.latents(numbers, generator.network.latent_size)
    drawn = strips.draw(synthesis.Sampler(generator.network), [slider], z, labels, stage, args["truncation"])
    pixels.save(args["out"], drawn, marks.make_packet(generator.mark))
    return args["out"]


def _find_slider(generator: Generator, index: int) -> latent_sliders.Slider:
    """Return the slider with this number. Raise UserError if there is none."""
    found = generator.sliders
    if not 1 <= index <= len(found):
        raise UserError(f"slider {index}: the run has the sliders 1 to {len(found)}.")
    return found[index - 1]


def rename_slider(args: dict, progress) -> list[dict]:
    """Give a slider a name, and return all sliders. args: run, index, name."""
    open_run(args["run"]).rename_slider(args["index"], args["name"])
    return list_sliders(args, progress)


def measure_photo(file: Path) -> tuple[int, int]:
    """Return width and height in pixels of a photo that the page has sent, without decoding it.

    Raises UserError if it is no photo of a common format.
    """
    from pggan_tf.data import decoders

    try:
        with decoders.open_pictures(file.read_bytes(), FORMATS) as pictures:
            return pictures.first_size()
    except Unreadable as reason:
        raise UserError(f"the photo: {reason}. Expected one of {', '.join(FORMATS)}.") from None


@explain_out_of_memory("a photo is converted", "Send a smaller photo.")
def convert(args: dict, progress) -> str:
    """Colour, enlarge or translate the photo args["photo"], and write it to args["out"].

    args: run, photo, out, hints, saturation, scale.
    """
    generator = open_generator(args)
    factor = args["scale"] or generator.scale
    width, height = measure_photo(Path(args["photo"]))
    if height * width * max(1.0, factor) ** 2 > MOST_PIXELS:
        raise UserError(
            f"a photo of {width:,} x {height:,} pixels, and {factor:g} times as wide afterwards: more than {MOST_PIXELS:,} pixels. "
            "Send a smaller one."
        )
    options = {"hints": args["hints"] or None, "saturation": args["saturation"], "scale": args["scale"]}
    converting.convert(generator, args["photo"], args["out"], **options)
    return args["out"]
