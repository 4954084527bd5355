"""Choose the values of --target-res auto, --shape auto and --size auto.

The first is the largest resolution at which the minutes can show something, the second the shape
that most photos have, the third the largest size that the GPU's memory and the photos allow.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from pggan_tf import networks, schedule, shapes, terminal
from pggan_tf.config import Plan, parsing, resolve
from pggan_tf.config.cost import GIB
from pggan_tf.config.recipes import PIPELINES, RECIPES
from pggan_tf.config.schema import DEFAULTS
from pggan_tf.config.sizes import SIZES, set_by_recipe
from pggan_tf.errors import UserError
from pggan_tf.runs import folder as runs
from pggan_tf.training import gpus

SMALLEST, LARGEST = 16, 256  # resolutions to choose from, in pixels
# Images that the last stage has to see in LAST_SHARE of the minutes, for each pixel of a side: 6,000 at
# 64 px. There 5,200 were enough for drawn faces that can all be recognised.
LEAST_IMAGES, LAST_SHARE = 94, 0.45
_TRAINED_SHARE = 0.85  # share of the minutes that training takes, in short runs
# A training step has about seven times the operations of one forward pass of the 3x3 layers of one
# network. It reaches this share of a large convolution's speed, and moving a number of a feature map
# through memory takes as long as this many operations (measured from 4 to 128 px on CPUs).
_PASSES, _EFFICIENCY, _MOVING = 7, 0.4, 1_000
_PHOTOS = 9  # number of photos whose size is looked at


def measure_speed(seconds: float = 0.3) -> float:
    """Return the speed of a large convolution on this machine's first device, in operations per second."""
    import tensorflow as tf

    x, kernel = tf.zeros((16, 32, 32, 128)), tf.zeros((3, 3, 128, 128))
    convolve = tf.function(lambda x: tf.reduce_sum(tf.nn.conv2d(x, kernel, 1, "SAME")), autograph=False)
    convolve(x).numpy()
    best, begun = float("inf"), time.perf_counter()
    while time.perf_counter() - begun < seconds:
        start = time.perf_counter()
        convolve(x).numpy()
        best = min(best, time.perf_counter() - start)
    return 2 * 16 * 32**2 * 9 * 128**2 / best


def estimate_operations(options: Mapping, resolution: int) -> float:
    """Return the operations of a training step per square image, with moving data in memory.

    options: {option: value} of all options of the run.
    """
    from pggan_tf.networks.widths import count_maps

    kernel = 9 if options["conv"] == "standard" else 1
    total, moved = 0.0, 0.0
    sizes = [resolution]
    while sizes[0] >= 2 * shapes.SMALLEST:
        sizes.insert(0, sizes[0] // 2)
    for size in sizes:
        here, below = (count_maps(r, options["fmap_base"], options["fmap_max"]) for r in (size, size // 2))
        total += 2 * kernel * size**2 * (here * here + here * below)
        moved += 2 * size**2 * here
    return _PASSES * total + _MOVING * moved


def choose(options: Mapping, minutes: float, speed: float, shortest: int | None) -> int:
    """Return the largest resolution that --minutes suffice for.

    Args:
        options: {option: value} of all options of the run.
        minutes: value of --minutes.
        speed: see `measure_speed`.
        shortest: usual length of the shorter side of the photos in pixels; None if it is not known.
    """
    aspect = shapes.parse_aspect(options["shape"])
    sizes = [size for size in shapes.list_doublings(aspect) if size >= SMALLEST]
    chosen, share = sizes[0], min(aspect) / max(aspect)  # of the pixels of a square
    for size in sizes:
        if size > LARGEST or min(shapes.shape_at(size, aspect)) > (shortest or LARGEST):
            break
        rate = _EFFICIENCY * speed / (share * estimate_operations(options, size))
        if 60 * minutes * _TRAINED_SHARE * LAST_SHARE * rate >= LEAST_IMAGES * size:
            chosen = size
    return chosen


def estimate_speeds(plan: Plan, speed: float) -> dict[schedule.Part, float]:
    """Return the images per second that each part of a plan will roughly train at.

    Args:
        plan: the plan of a network that grows.
        speed: see `measure_speed`.
    """
    options = plan.config.values()
    share = min(plan.aspect) / max(plan.aspect)  # of the pixels of a square
    rates = {r: _EFFICIENCY * speed / (share * estimate_operations(options, r)) for r in plan.resolutions}
    return {phase.part: rates[phase.resolution] for phase in plan.phases}


def _find_shortest(data) -> int | None:
    """Return the median of the shorter sides of a few photos; None if they cannot be looked at."""
    from preprocessing.sources import open_source

    sides = []
    try:
        source = open_source(data[0] if isinstance(data, tuple) else data)
        for number in np.unique(np.linspace(0, len(source) - 1, _PHOTOS).astype(int)):
            for item in source.items(int(number), int(number) + 1):
                sides.append(min(item.decode()[0].size))
    except Exception:  # what is wrong with the data is said when it is prepared
        return None
    return int(statistics.median(sides)) if sides else None


def replace_auto_shape(options: Mapping, say: Callable[[str], None], own: Path | None = None) -> dict:
    """Return the typed options with width:height in place of --shape auto.

    Raises UserError if the photos cannot be read.

    Args:
        options: {option: value} that were typed.
        say: called with a message about the choice.
        own: folder of --run. If a run has begun there, its shape is kept.
    """
    if options.get("shape") != parsing.AUTO:
        return dict(options)
    if own and (own / runs.CONFIG).is_file():
        return {**options, "shape": shapes.name_aspect(runs.read(own)[0].aspect)}
    from preprocessing import cache, photo_shapes

    data = options.get("data") or "portraits"
    places = data if isinstance(data, tuple) else (data,)
    if found := cache.find_shards(places[0]):
        aspect = found[1].get("aspect", shapes.SQUARE)
        about = f"--shape auto: {shapes.name_aspect(aspect)}, as the images in {places[0]} are"
    else:
        aspect, about = photo_shapes.choose_aspect(places)
    say(about)
    return {**options, "shape": shapes.name_aspect(aspect)}


def replace_auto(
    options: Mapping,
    say: Callable[[str], None],
    own: Path | None = None,
    alone: bool = True,
    from_recipe: bool = True,
    speed: float | None = None,
) -> dict:
    """Return the typed options with a number in place of --target-res auto.

    Raises UserError if nothing tells how large the images may become.

    Args:
        options: {option: value} that were typed.
        say: called with a message about the choice.
        own: folder of --run. If a run has begun there, its resolution is kept.
        alone: whether this machine trains alone.
        from_recipe: whether there is no --config.
        speed: what `measure_speed` has returned before; None: it is measured.
    """
    if options.get("target_res") != parsing.AUTO:
        return dict(options)
    rest = {name: value for name, value in options.items() if name != "target_res"}
    if own and (own / runs.CONFIG).is_file():
        return rest | {"target_res": runs.read(own)[0].target_res}
    if not from_recipe:
        raise UserError(
            "--target-res auto with --config: the file says a resolution. Give a number of pixels, or leave it out."
        )
    if not alone or rest.get("strategy", "auto") != "auto":
        raise UserError("--target-res auto: is for one machine that chooses its own devices. Give a number of pixels.")
    minutes, recipe = rest.get("minutes"), rest.get("recipe", DEFAULTS["recipe"])
    if minutes is None:
        raise UserError(
            "--target-res auto: goes with --minutes, from which it follows. Give these, or a number of pixels."
        )
    values = RECIPES.get(recipe, {})
    if recipe in PIPELINES or values.get("network", "progressive") != "progressive" or rest.get("network"):
        raise UserError(
            f"--target-res auto with --recipe {recipe}: is for networks that grow. Give a number of pixels."
        )
    terminal.start_tensorflow()
    resolved = resolve({name: value for name, value in rest.items() if name != "minutes"}).config.values()
    data = rest.get("data")
    chosen = choose(resolved, minutes, speed or measure_speed(), _find_shortest(data) if data else None)
    size = shapes.name_size(chosen, shapes.parse_aspect(resolved["shape"]))
    say(f"--target-res auto: {size} px, for {minutes:g} minutes on this machine")
    return rest | {"target_res": chosen}


def _count_photos(options: Mapping) -> int | None:
    """Return the number of photos, without looking into them; None if that cannot be told."""
    from preprocessing import cache
    from preprocessing.sources import WORDS, open_source

    data = options.get("data")
    if data is None or data in WORDS:
        return options.get("portraits", DEFAULTS["portraits"])
    count = 0
    try:
        for place in data if isinstance(data, tuple) else (data,):
            found = cache.find_shards(place)
            count += sum(shard["images"] for shard in found[1]["shards"]) if found else len(open_source(place))
    except Exception:  # what is wrong with the data is said when it is prepared
        return None
    return count


def choose_size(cards: Sequence[gpus.Gpu], photos: int | None) -> tuple[str, str]:
    """Return the value of --size for a machine, and the reason in words.

    Args:
        cards: the GPUs that train.
        photos: number of photos; None if it is not known.
    """
    if not cards:
        return "phone", "there is no GPU here"
    memory = min(card.memory for card in cards)
    chosen = "phone"
    for name, size in SIZES.items():
        if memory >= size.memory * GIB and (photos is None or photos >= size.photos):
            chosen = name
    known = "" if photos is None else f" and {photos:,} photos"
    why = f"{len(cards)} x {cards[0].name} with {memory / GIB:.0f} GiB{known}"
    names = list(SIZES)
    if chosen != names[-1]:
        larger = SIZES[names[names.index(chosen) + 1]]
        why += f"; the next size is for {larger.memory:g} GiB and {larger.photos:,} photos"
    return chosen, why


def _say_what_stays(recipe: str, size: str, say: Callable[[str], None]) -> None:
    """Call `say` with the options of a size that the recipe sets itself, if there are any."""
    kept = [parsing.flag(name) for name in SIZES[size].values if name in set_by_recipe(recipe)] if size in SIZES else []
    if kept:
        say(
            f"--size {size}: --recipe {recipe} sets {', '.join(kept)} itself, and that stays. For the size's own "
            "values leave --recipe out."
        )


def replace_auto_size(
    options: Mapping, say: Callable[[str], None], own: Path | None = None, alone: bool = True, from_recipe: bool = True
) -> dict:
    """Return the typed options with a size for this machine in place of --size auto.

    That is the default of the default recipe; others keep theirs, unless a size is typed. On GPUs,
    sizes also have --batch auto, unless a batch was typed or other machines train, too. What a run
    has begun with stays, and so does what a config.json says; weights of another run have a size
    already.

    Args:
        options: {option: value} that were typed.
        say: called with a message about the choice.
        own: folder of --run. If a run has begun there, its size is kept.
        alone: whether this machine trains alone.
        from_recipe: whether there is no --config.
    """
    typed, auto = options.get("size"), options.get("size", parsing.AUTO) == parsing.AUTO
    out = {name: value for name, value in options.items() if name != "size" or not auto}
    recipe = options.get("recipe", DEFAULTS["recipe"])
    network = options.get("network", RECIPES.get(recipe, {}).get("network", DEFAULTS["network"]))
    grows = network in networks.NETWORKS and networks.NETWORKS[network].grows
    if recipe in PIPELINES or not from_recipe or not grows:
        return out
    if typed is None and recipe != DEFAULTS["recipe"]:  # it stands for a system that has its own size
        return out
    if not auto:
        _say_what_stays(recipe, options["size"], say)
    begun = own if own and (own / runs.CONFIG).is_file() else options.get("init_from")
    if begun and auto and (Path(begun) / runs.CONFIG).is_file():
        size = runs.read(begun)[0].config.networks.size
        out |= {"size": size} if size else {}
    if typed != parsing.AUTO and not gpus.may_exist():
        return out
    terminal.start_tensorflow()
    cards = gpus.list_gpus(options.get("strategy", "auto"))
    if auto and not begun and (cards or typed):
        out["size"], why = choose_size(cards, _count_photos(options))
        say(f"--size auto: {out['size']}, for {why}")
    if cards and alone and out.get("size") and "batch" not in out:
        out["batch"] = parsing.AUTO
    return out
