"""What is asked for: a recipe or a config.json, and options over it -> the complete config of every run."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection
from pathlib import Path

from pggan_tf import config as configs
from pggan_tf import networks, objectives, recipes
from pggan_tf.config import Config
from pggan_tf.errors import UserError
from pggan_tf.training import run


def absolute(given: dict) -> dict:
    """The options, those that name a file or folder by its whole path."""
    out = dict(given)
    for name in ("data", "init_from", "vgg_weights", "inception_weights", "features"):
        place = given.get(name, "")
        if isinstance(place, tuple):
            out[name] = tuple(map(_absolute, place))
        elif place and (name != "features" or place.endswith(".keras")):
            out[name] = _absolute(place)
    return out


def _absolute(place: str) -> str:
    """A path that exists by its whole path, pairs:DIR too; anything else as it is."""
    if os.path.exists(place):
        return os.path.abspath(place)
    if place.startswith("pairs:"):
        return f"pairs:{os.path.abspath(os.path.expanduser(place.removeprefix('pairs:')))}"
    return place


def asked(
    config_file: str | None, given: dict, cache: str | None = None, own_folder: Path | None = None
) -> list[Config]:
    """The completed configs of the runs, one after the other, that --config and the other options of `train` ask for.

    own_folder: of --run, where they may have been begun: then nothing that has come to this machine since changes them.
    """
    if config_file and "recipe" in given:
        raise UserError("--config and --recipe: give one of them. A config.json is complete.")
    if "minutes" in given and (plan := given.keys() & {"fade_images", "stable_images", "total_images"}):
        raise UserError(
            f"--minutes and {configs.flag(min(plan))}: give one of them. --minutes plans the images itself."
        )
    if given.get("recipe") not in recipes.PIPELINES:
        if config_file:
            return [_completed(configs.load(config_file), given, own_folder, configs.FIELDS)]
        base = recipes.recipe(given.get("recipe", Config.recipe))
        return [_completed(base, _with_what_is_there(base, given, cache, own_folder), own_folder)]
    given = dict(given)
    parts, wanted = recipes.PIPELINES[given.pop("recipe")], []
    size, minutes = given.pop("target_res", recipes.PIPELINE_RES), given.pop("minutes", None)
    scale = given.get("scale", Config.scale)
    for part in parts:
        own = {"target_res": size // scale if part.small else size} | (
            {"minutes": minutes * part.share} if minutes else {}
        )
        base = dataclasses.replace(recipes.recipe(part.recipe), **part.settings)
        theirs, taken = own_folder and own_folder / part.recipe, configs.taken_by(base, given) | own
        if "init_from" in taken and not _begins_with(Path(taken["init_from"]), base, theirs):
            del taken["init_from"]
        wanted.append(_completed(base, _with_what_is_there(base, taken, cache, theirs), theirs))
    if "init_from" in given and not any(config.init_from for config in wanted):
        theirs = run.read(given["init_from"])[0]
        raise UserError(
            f"--init-from {given['init_from']}: its weights are of --task {theirs.task} --network {theirs.network}, which is neither "
            f"{' nor '.join(config.recipe for config in wanted)}."
        )
    return wanted


def _begun(own_folder: Path | None) -> bool:
    return bool(own_folder) and (own_folder / run.CONFIG).is_file()


def _begins_with(source: Path, recipe: Config, own_folder: Path | None) -> bool:
    """Whether the weights of a run are meant for this one of several recipes. They may be gone once a run was begun with them."""
    if _begun(own_folder):
        return run.read(own_folder)[0].init_from is not None
    if not (source / run.CONFIG).is_file():
        return False
    theirs = run.read(source)[0]
    return (theirs.task, theirs.network) == (recipe.task, recipe.network)


def _with_what_is_there(recipe: Config, given: dict, cache: str | None, own_folder: Path | None) -> dict:
    """Recipes that measure also measure FID where Inception's graph has been fetched before; and where Keras has kept VGG19, its
    features, which were learned from photos, take the place of a discriminator's. A run that was begun keeps to what was there."""
    from pggan_tf.metrics import features
    from pggan_tf.shards import cache_folder

    weights = Path(os.path.expanduser(os.environ.get("KERAS_HOME", "~/.keras"))) / "models" / networks.VGG19_FILE
    if _begun(own_folder):
        begun = run.read(own_folder)[0]
        inception, vgg = "fid" in (begun.metrics or ()), begun.content == "vgg19"
    else:
        inception, vgg = features.kept_file(features.INCEPTION_URL, cache_folder(cache)).is_file(), weights.is_file()
    told = given.keys() & {"metrics", "features", "inception_weights"}
    if recipe.task == "generate" and recipe.metrics and not told and inception:
        given = {**given, "metrics": (*recipe.metrics, "fid")}
    told = given.keys() & {"content", "vgg_weights"} or given.get("loss") == "none"
    if recipe.task == "upscale" and recipe.content == "discriminator" and not told and vgg:
        given = {**given, **({"vgg_weights": str(weights)} if weights.is_file() else recipes.WITH_VGG19)}
    return given


def _completed(base: Config, given: dict, own_folder: Path | None, said: Collection[str] | None = None) -> Config:
    """The options over a base, completed and checked. said: what the base says; by default what its recipe does."""
    config = _replaced(base, given)
    said = recipes.RECIPES[base.recipe] if said is None else said
    config = configs.complete(_with_their_networks(config, given, said, own_folder))
    configs.check_read(config, given)
    if "total_images" in given and not _begun(own_folder):
        configs.check_total_images(config)
    if config.init_from and not _begun(own_folder):  # weights that a run was begun with may be gone since
        run.check_weights(config, Path(config.init_from))
    return config


def _with_their_networks(config: Config, given: dict, said: Collection[str], own_folder: Path | None) -> Config:
    """With --init-from: what neither the base nor an option says of the networks is as it is there. In a --run that was begun when
    the defaults were others, it is as it was then."""
    begun = _begun(own_folder)
    source = own_folder if begun else given.get("init_from")
    if not source or not (Path(source) / run.CONFIG).is_file():
        return config
    theirs, environment = run.read(source)
    former = environment.get("asked", {}).get("version", configs.VERSION) < configs.VERSION
    wanted = "init_from" in given or (begun and former)
    if not wanted or config.network != theirs.network:
        return config
    left = [n for n in configs.of_weights(config.network) if n not in said or getattr(config, n) is None]
    return dataclasses.replace(config, **{n: getattr(theirs, n) for n in left if n not in given and n != "conditional"})


def _opened(config: Config, names: Collection[str]) -> Config:
    """The config without those of its values that `complete` would give it anyway."""

    def follows(name: str) -> bool:
        try:
            return getattr(configs.complete(dataclasses.replace(config, **{name: None})), name) == getattr(config, name)
        except UserError:
            return False  # without it nothing could run

    return dataclasses.replace(config, **{name: None for name in names if follows(name)})


def _of_another_network(config: Config, network: str, sized: bool) -> dict:
    """What changes with --network, besides. sized: a size is given, too."""
    before, after, defaults = networks.NETWORKS[config.network], networks.NETWORKS[network], Config()
    # What only one of them looks at says nothing of the other.
    changes = {n: getattr(defaults, n) for n in {*before.structure} ^ {*after.structure} if n in configs.FIELDS}
    if before.grows != after.grows and not sized:
        size = config.resolutions[-1] if config.resolutions else config.target_res
        changes |= {"resolutions": None, "target_res": size}
    if after.grows and not before.grows:
        changes["fade_images"] = defaults.fade_images
    return changes


def _replaced(config: Config, given: dict) -> Config:
    """Options over a config. What had been worked out, in a config.json, is worked out anew where it may follow from them."""
    network, loss = given.get("network", config.network), given.get("loss", config.loss)
    penalty = config.penalty or objectives.LOSSES[config.loss].penalty
    another_objective = loss != config.loss or given.get("penalty", penalty) != penalty
    following = []
    if network != config.network or another_objective:
        following += ["discriminator_norm", "weight_clip"]
    if network != config.network:
        following += ["conv", "generator_norm"]
    elif "spectral" in given and "conv" not in recipes.RECIPES.get(config.recipe, {}):
        following += ["conv"]
    config = _opened(config, following)
    if network != config.network:
        sized = bool(given.keys() & {"target_res", "resolutions"})
        given = {**_of_another_network(config, network, sized), **given}
    if "target_res" in given and "resolutions" not in given:
        given = {**given, "resolutions": None}
    if "resolutions" in given and "target_res" not in given:
        given = {**given, "target_res": None}
    every = [f for f in ("snapshot_images", "snapshot_epochs") if f in given]
    if len(every) == 2:
        raise UserError("--snapshot-images and --snapshot-epochs: give one of them.")
    if every:
        given = {"snapshot_images": None, "snapshot_epochs": None, **given}
    if another_objective:  # the former loss's penalty is not the new one's
        former = {"penalty_weight": None, "penalty_every": None}
        if loss != config.loss:
            former |= {"penalty": None, "drift": None, "lsgan_targets": None, "label_smoothing": 0.0}
        if loss == "none":  # the generator alone, from the first image to the last
            former |= {"pretrain_images": 0} | ({"content": "none"} if config.content == "discriminator" else {})
        given = {**former, **given}
    if "inception_weights" in given and config.metrics and "metrics" not in given and config.task == "generate":
        given = {"metrics": tuple(dict.fromkeys([*config.metrics, "fid"])), **given}
    if "vgg_weights" in given and config.content == "discriminator":  # better features are at hand
        given = {**recipes.WITH_VGG19, **given}
    if given.get("content", config.content) != config.content:
        given = {"content_weight": None, **given}
    return dataclasses.replace(config, **given)
