"""Compute the plans of the runs that a user requests with a recipe or config.json and options.

A base (`config.resolve.Base`) is the recipe or config.json that the typed options are applied to. A
pipeline is a recipe of several parts, each of which is a run; they are trained one after the other.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pggan_tf import networks, tasks
from pggan_tf.config import Config, Plan, flag, parsing, recipes
from pggan_tf.config.checks import OF_IMAGE_TASKS
from pggan_tf.config.resolve import Base
from pggan_tf.config.schema import DEFAULTS
from pggan_tf.data.shards import find_cache_folder
from pggan_tf.errors import UserError
from pggan_tf.metrics import features
from pggan_tf.runs import folder as runs
from pggan_tf.runs import pretrained

DEFAULTS_CHANGED_IN = 2  # first version of config.json with the current defaults


def absolute(options: Mapping) -> dict:
    """Return {option: value} with absolute paths to files and folders.

    A run can then be resumed from any working directory.

    options: {option: value} that were typed.
    """
    out = dict(options)
    for name in ("data", "init_from", "vgg_weights", "inception_weights", "features"):
        place = options.get(name, "")
        if isinstance(place, tuple):
            out[name] = tuple(map(_absolute, place))
        elif place and (name != "features" or place.endswith(".keras")):
            out[name] = _absolute(str(pretrained.locate(place)) if name == "init_from" else place)
    return out


def _absolute(place: str) -> str:
    """Return the path as an absolute path if it exists, also in 'pairs:DIR'; else unchanged."""
    if os.path.exists(place):
        return os.path.abspath(place)
    if place.startswith("pairs:"):
        return f"pairs:{os.path.abspath(os.path.expanduser(place.removeprefix('pairs:')))}"
    return place


@dataclass(frozen=True)
class _Begun:
    """A run that has begun, in the folder of --run or --init-from."""

    config: Config  # its options
    environment: dict  # content of its environment.json

    @classmethod
    def read(cls, folder: str | Path | None) -> _Begun | None:
        """Return the run in a folder, or None if no run has begun there."""
        if folder is None or not (Path(folder) / runs.CONFIG).is_file():
            return None
        plan, environment = runs.read(folder)
        return cls(plan.config, environment)

    @property
    def had_other_defaults(self) -> bool:
        """Whether the run was begun by a version of this program with other defaults."""
        return self.environment.get("asked", {}).get("version", parsing.VERSION) < DEFAULTS_CHANGED_IN


def plans(
    options: Mapping, config_file: str | None = None, cache: str | None = None, own_folder: Path | None = None
) -> list[Plan]:
    """Return the plans of the runs that the command `train` trains, one after the other.

    Args:
        options: {option: value} that were typed, see `parsing.split_size`.
        config_file: path of the config.json of a run to repeat with `options`; or None.
        cache: folder for prepared data, see `shards.find_cache_folder`.
        own_folder: folder given with --run. If runs have begun there, files that were added to this
            machine later, such as Inception's weights, do not change their options.

    Raises:
        UserError: if the options do not go together.
    """
    _check_options(options, config_file)
    recipe = options.get("recipe", DEFAULTS["recipe"])
    parts = recipes.PIPELINES.get(recipe)
    source = _Begun.read(options.get("init_from"))
    out = []
    for part in parts or [recipes.Part(recipe)]:
        begun = _Begun.read(own_folder / part.recipe if own_folder and parts else own_folder)
        base = Base.of_file(config_file) if config_file else Base.of_recipe(part.recipe, part.settings)
        own = _of_part(part, base.values, options, source, begun) if parts else options
        if not config_file:
            own = _with_local_files(base.values, own, cache, begun)
        out.append(_plan(base, own, source, begun))
    if parts and "init_from" in options and not any(plan.config.optimization.init_from for plan in out):
        theirs = runs.read(options["init_from"])[0].config
        raise UserError(
            f"--init-from {options['init_from']}: its weights are of --task {theirs.purpose.task} --network "
            f"{theirs.networks.network}, which is neither {' nor '.join(plan.config.recipe for plan in out)}."
        )
    return out


def _check_options(options: Mapping, config_file: str | None) -> None:
    """Raise UserError if two options exclude each other."""
    if config_file and "recipe" in options:
        raise UserError("--config and --recipe: give one of them. A config.json is complete.")
    if "minutes" in options and (fixed := options.keys() & {"fade_images", "stable_images", "total_images"}):
        raise UserError(f"--minutes and {flag(min(fixed))}: give one of them. --minutes plans the images itself.")
    if options.keys() >= {"snapshot_images", "snapshot_epochs"}:
        raise UserError("--snapshot-images and --snapshot-epochs: give one of them.")


def _plan(base: Base, options: Mapping, source: _Begun | None, begun: _Begun | None) -> Plan:
    """Return the plan of a run with these options.

    If the run has begun with a version that had other defaults, the plan has the same networks.

    Args:
        base: the recipe or config.json that the options are applied to.
        options: {option: value} that were typed.
        source: the run of --init-from, or None.
        begun: the run that has begun in the folder of --run, or None.
    """
    theirs = begun if begun and (begun.had_other_defaults or "init_from" in options) else source
    typed, size = options.get("size", parsing.AUTO), source.config.networks.size or "phone" if source else None
    if size and not begun and typed not in (parsing.AUTO, size):
        raise UserError(
            f"--size {typed} with --init-from {options['init_from']}: its networks have the size {size}. Give that, or leave it out."
        )
    plan = base.plan(options, theirs.config if theirs else None)
    if begun:  # the weights that it was begun with may be gone
        return plan
    if "total_images" in options:
        plan.check_total_images()
    if plan.config.optimization.init_from:
        runs.check_weights(plan, Path(plan.config.optimization.init_from))
    return plan


def _of_part(
    part: recipes.Part, values: Mapping, options: Mapping, source: _Begun | None, begun: _Begun | None
) -> dict:
    """Return {option: value} of the typed options for one part of a pipeline.

    These are the options that have an effect in this part, with its own image size and its share of
    --minutes.

    Args:
        part: the part.
        values: {option: value} of all options of the part's recipe.
        options: {option: value} that were typed.
        source: the run of --init-from, or None.
        begun: the run that has begun in the folder of --run, or None.
    """
    size, scale = options.get("target_res", recipes.PIPELINE_RES), options.get("scale", DEFAULTS["scale"])
    if part.small and size // scale < 4:
        raise UserError(
            f"--target-res {size}: the first network of this recipe draws images of {size}/{scale} px, which are then enlarged. "
            f"Expected {4 * scale} or more."
        )
    own = _taken_by(values, options) | {"target_res": size // scale if part.small else size}
    own.pop("recipe")
    if "minutes" in own:
        own["minutes"] *= part.share
    if "init_from" in own and not _begins_with(source, values, begun):
        del own["init_from"]
        own.pop("freeze_discriminator", None)
    return own


def _taken_by(values: Mapping, options: Mapping) -> dict:
    """Return {option: value} of the options that have an effect with a recipe's task and network.

    Args:
        values: {option: value} of all options of the recipe.
        options: {option: value} that were typed.
    """
    architecture = networks.NETWORKS[values["network"]]
    others = {name for other in networks.NETWORKS.values() for name in other.options} - {*architecture.options}
    of_latents = {"conditional", "class_weight", "augment", "channels"}
    if not architecture.grows:
        others.add("size")
    unused = others | of_latents if tasks.TASKS[values["task"]].from_images else OF_IMAGE_TASKS
    return {name: value for name, value in options.items() if name not in unused}


def _begins_with(source: _Begun | None, values: Mapping, begun: _Begun | None) -> bool:
    """Tell whether the weights of --init-from are meant for this part of a pipeline.

    They are if they belong to the same task and network. If this part's run has begun, its config
    tells, because the weights may no longer exist.

    Args:
        source: the run of --init-from, or None.
        values: {option: value} of all options of the part's recipe.
        begun: this part's run if it has begun, or None.
    """
    if begun:
        return begun.config.optimization.init_from is not None
    if source is None:
        return False
    theirs = source.config
    return (theirs.purpose.task, theirs.networks.network) == (values["task"], values["network"])


def _with_local_files(values: Mapping, options: Mapping, cache: str | None, begun: _Begun | None) -> dict:
    """Return {option: value} of the typed options and of those that files on this machine allow.

    If Inception's weights were downloaded before, recipes with metrics also measure FID. If Keras
    has stored VGG19, the content loss compares its features, which were learned from photos, not
    those of the discriminator. Options that were typed are not changed. A run that has begun keeps
    what it was begun with.

    Args:
        values: {option: value} of all options of the recipe.
        options: {option: value} that were typed.
        cache: folder for prepared data, see `shards.find_cache_folder`.
        begun: the run that has begun in the folder of --run, or None.
    """
    vgg_file = Path(os.path.expanduser(os.environ.get("KERAS_HOME", "~/.keras"))) / "models" / networks.VGG19_FILE
    if begun:
        inception = "fid" in (begun.config.measuring.metrics or ())
        vgg = begun.config.objective.content == "vgg19"
    else:
        inception = features.locate_weights(features.INCEPTION_URL, find_cache_folder(cache)).is_file()
        vgg = vgg_file.is_file()
    out = dict(options)
    says_metrics = options.keys() & {"metrics", "features", "inception_weights"}
    task = tasks.TASKS[values["task"]]
    if not task.from_images and values["metrics"] and not says_metrics and inception:
        out["metrics"] = (*values["metrics"], "fid")
    says_content = options.keys() & {"content", "vgg_weights"} or options.get("loss") == "none"
    if task.rgb_output and values["content"] == "discriminator" and not says_content and vgg:
        out |= {"vgg_weights": str(vgg_file)} if vgg_file.is_file() else recipes.WITH_VGG19
    return out
