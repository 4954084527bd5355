"""Resolve options: compute a `Plan` with the value of every option from the requested ones.

Requested options (`asked`) are those that the user typed or that a config.json lists as requested,
with the name of the recipe. All other options follow: from the recipe, from the defaults, or, where
the default is None, from further options. A *base* is what typed options are applied to: a recipe,
or the config.json of an earlier run.

Some options only make sense together with others. If a typed option makes another option's value
meaningless, that value is reset ("reopened"): another --loss resets the penalty, for example.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from pggan_tf import losses, networks, schedule, shapes, tasks
from pggan_tf.config import checks, parsing, recipes, sizes
from pggan_tf.config.parsing import Written
from pggan_tf.config.plan import Plan, default_values
from pggan_tf.config.schema import DEFAULTS, FIELDS, Config
from pggan_tf.errors import UserError

# Pairs of options that set the same thing in two ways: giving one resets the other.
_ALTERNATIVES = (("target_res", "resolutions"), ("snapshot_images", "snapshot_epochs"))
_OF_A_PENALTY = ("penalty_weight", "penalty_every", "weight_clip")
_OF_A_LOSS = ("penalty", "drift", "lsgan_targets", "label_smoothing", *_OF_A_PENALTY)
# Options that `training.planning` computes for --minutes.
OF_MINUTES = ("fade_images", "stable_images", "pretrain_images", "snapshot_images", "metrics_every")
_DECIDED_LATER = ("size", "batch")  # options whose value 'auto' is replaced on the machine that trains
_TABLES = ("batch", "learning_rate", "fade_images", "stable_images", "penalty_weight", "metrics_every")
_OF_STEPS = ("batch", "learning_rate", "penalty_weight")  # tables of which each row is about one stage alone


def _reopened_by_network(below: Mapping, above: Mapping) -> dict:
    """Return {option: new value} of the options to reset because `above` changes the network.

    Args:
        below: {option: value} of all options.
        above: {option: value} of the options that replace some of them.
    """
    before, after = networks.NETWORKS[below["network"]], networks.NETWORKS[above["network"]]
    # The value of an option that only one network has means nothing for the other.
    out = {name: DEFAULTS[name] for name in {*before.options} ^ {*after.options}}
    if before.grows != after.grows and not above.keys() & {"target_res", "resolutions"}:
        size = below["resolutions"][-1] if below["resolutions"] else below["target_res"]
        out |= {"resolutions": None, "target_res": size}
    if after.grows and not before.grows:
        out["fade_images"] = DEFAULTS["fade_images"]
    if not after.grows and below["size"] is not None:
        out["size"] = None
    return out | {"weight_clip": None}  # the weights of another network have another size


def _reopened_by_objective(below: Mapping, above: Mapping) -> dict:
    """Return {option: new value} of the options to reset if `above` changes the loss or penalty.

    Args:
        below: {option: value} of all options.
        above: {option: value} of the options that replace some of them.
    """
    loss = above.get("loss", below["loss"])
    penalty = below["penalty"] or losses.LOSSES[below["loss"]].penalty
    out: dict = {}
    if loss != below["loss"]:
        out |= {name: DEFAULTS[name] for name in _OF_A_LOSS}
        if loss == "none":  # the generator learns alone during the whole run
            out["pretrain_images"] = 0
            if below["content"] == "discriminator":
                out["content"] = "none"
    elif above.get("penalty", penalty) != penalty:
        out |= {name: DEFAULTS[name] for name in _OF_A_PENALTY}
    if above.get("content", below["content"]) != below["content"]:
        out["content_weight"] = None
    return out


def reopened(below: Mapping, above: Mapping) -> dict:
    """Return {option: new value} of the options to reset because `above` makes them meaningless.

    Options that `above` sets itself are not included.

    Args:
        below: {option: value} of all options.
        above: {option: value} of the options that replace some of them.
    """
    out: dict = {}
    for pair in _ALTERNATIVES:
        if above.keys() & set(pair):
            out |= dict.fromkeys(pair)
    if above.get("network", below["network"]) != below["network"]:
        out |= _reopened_by_network(below, above)
    out |= _reopened_by_objective(below, above)
    if "task" in above and not tasks.TASKS[above["task"]].may_zoom:
        out["zoom"] = DEFAULTS["zoom"]
    if "inception_weights" in above and below["metrics"] and not tasks.TASKS[below["task"]].from_images:
        out["metrics"] = tuple(dict.fromkeys([*below["metrics"], "fid"]))
    if "minutes" in above and below["total_images"] is not None:
        out["total_images"] = None
    if above.get("stop") == "plateau" and below["metrics"] is None:
        out["metrics"] = ("swd",)
    if "vgg_weights" in above and below["content"] == "discriminator":  # better features are available
        out = {**recipes.WITH_VGG19, "content_weight": None, **out}
    return {name: value for name, value in out.items() if name not in above}


def settings(asked: Mapping) -> dict[str, typing.Any]:
    """Return {option: value} of all options; a value is None if it is still to be computed.

    An option's value is that in `asked`, else that of a recipe other than the default one, else
    that of --size, else that of the default recipe, else the default. A total number of images
    that nobody asked for gives way to stages or minutes that somebody did.

    asked: {option: value} of the requested options. 'auto' stands for the value below it.
    """
    asked = {name: value for name, value in asked.items() if not (name in _DECIDED_LATER and value == parsing.AUTO)}
    # The recipe of a config.json may be one that this version does not have: it is only a name then.
    below = DEFAULTS | recipes.RECIPES.get(asked.get("recipe", DEFAULTS["recipe"]), {})
    below |= sizes.find_values(asked.get("size"), below, asked)
    network = networks.NETWORKS[(below | asked)["network"]]
    if asked.keys() & {"fade_images", "stable_images"} or not network.grows:
        below["total_images"] = None
    return below | reopened(below, asked) | asked


def merge(asked: Mapping, changes: Mapping, resolutions: tuple[int, ...] | None = None) -> dict:
    """Return {option: value} of the requested options after a change.

    Args:
        asked: {option: value} of the options requested so far.
        changes: {option: value} of the newly requested options. They replace options of `asked`,
            and reset those that they make meaningless.
        resolutions: the resolutions that the options in `asked` had in an earlier run, or None. A
            change of --network keeps the last of them.
    """
    if changes.keys() & {"total_images", "fade_images", "stable_images"}:
        asked = {name: value for name, value in asked.items() if name != "minutes"}
    below = settings(asked)
    dropped = reopened(below | {"resolutions": resolutions or below["resolutions"]}, changes)
    # A requested --weight-clip stays; that of a recipe belongs to the recipe's loss and network.
    dropped.pop("weight_clip", None)
    merged = {name: value for name, value in asked.items() if name not in dropped} | dict(changes)
    found = settings(merged)
    return merged | {name: value for name, value in dropped.items() if found[name] != value}


def asked_of(written: Written) -> dict:
    """Return {option: value} of the requested options that a config.json was made from.

    Versions 1 and 2 of the file do not contain them. For these, return all options except those
    for which `complete` would compute the same value.
    """
    if written.asked is not None:
        return written.asked
    values = written.config.values()
    said = recipes.RECIPES.get(values["recipe"], {})
    follows = []
    for name in ("discriminator_norm", "weight_clip", "generator_norm", "conv"):
        if name in said and (name == "conv" or said[name] != values[name]):
            continue  # left out, it would become the recipe's own value
        try:
            found = complete(written.config.replace(**{name: None}))
        except UserError:  # the config is not valid without this option
            continue
        if found.value(name) == values[name]:
            follows.append(name)
    return {name: value for name, value in values.items() if name not in follows}


def _resolutions(config: Config, architecture: networks.Architecture) -> tuple[int, ...]:
    """Return the resolutions of all stages in pixels, from --resolutions or --target-res.

    Raises UserError if the networks cannot have them.

    architecture: the architecture of --network, which may grow through several resolutions.
    """
    target_res, resolutions = config.networks.target_res, config.networks.resolutions
    aspect = config.networks.aspect
    checks.check_shape(config, architecture)
    if resolutions:
        resolutions = schedule.check_resolutions(resolutions, aspect)
        if target_res not in (None, resolutions[-1]):
            raise UserError(
                f"--target-res {target_res} and --resolutions that end at {resolutions[-1]}: give one of them."
            )
    elif architecture.grows:
        usual = max(r for r in shapes.list_doublings(aspect) if r <= 64)
        resolutions = schedule.doubling(usual if target_res is None else target_res, aspect)
    elif architecture.any_size:
        resolutions = schedule.check_resolutions((target_res or 32,), aspect)
    else:
        resolutions = schedule.doubling(target_res or 32)[-1:]
    checks.check_size(config, architecture, resolutions)
    return resolutions


LEAST_CLIP = 0.5  # smallest --weight-clip for networks with equalised learning rate


def _penalty(config: Config, architecture: networks.Architecture) -> dict:
    """Return {option: computed value} of the penalty and of options that depend on it.

    These are the penalty's kind, weight and interval, the drift, and, if the penalty requires them,
    the discriminator's weight clipping and normalisation.

    Raises UserError if the loss, the penalty and the networks do not go together.
    """
    options, network = config.objective, config.networks
    loss = losses.LOSSES[options.loss]
    penalty = options.penalty or loss.penalty
    # A penalty that is not the loss's default takes its default weight from a loss that has it.
    owners = [v for v in losses.LOSSES.values() if v.penalty == penalty.partition("+")[0].replace("2", "1")]
    owner = loss if penalty == loss.penalty else next(iter(owners), loss)
    changes: dict = {"penalty": penalty}
    if options.penalty_weight is None:
        changes["penalty_weight"] = {4: owner.penalty_weight}
    if options.penalty_every is None:
        changes["penalty_every"] = owner.penalty_every
    if options.drift is None:
        changes["drift"] = loss.drift
    # Equalised weights are stored with a standard deviation of 1. Clipped to 0.01 they pass on
    # almost nothing, and batch normalisation does not help, because its scale is clipped as well.
    # (At 32 px the logits then spread by 1e-17; if clipped to 0.1, by 1e-11; to 0.5, by 1e-3.)
    if architecture.equalized and (options.weight_clip or 1.0) < LEAST_CLIP:
        raise UserError(
            f"--weight-clip {options.weight_clip} with --network {network.network}: its weights are scaled as they are used, and so "
            f"small a critic says the same of every image. In its place give --penalty gp or --spectral all; or --weight-clip "
            f"{LEAST_CLIP} or more."
        )
    unbounded = penalty == "none" or not any((options.penalty_weight or {4: 1.0}).values())
    if loss.needs_bounded_critic and unbounded and network.spectral != "all" and options.weight_clip is None:
        # Arjovsky et al. 2017, algorithm 1: the critic's slope must be bounded.
        if architecture.equalized:
            raise UserError(
                f"--loss {options.loss} without a penalty, with --network {network.network}: nothing bounds the critic. "
                "Give --penalty gp (--loss wgan-gp), --penalty r1 or --spectral all."
            )
        changes["weight_clip"] = 0.01
    if penalty == "gp" and (network.discriminator_norm or architecture.defaults["discriminator_norm"]) == "batch":
        if network.discriminator_norm == "batch":
            raise UserError(
                "--discriminator-norm batch with --penalty gp: the penalty is on each sample's own gradient. Give none."
            )
        changes["discriminator_norm"] = "none"
    return changes


def complete(config: Config) -> Config:
    """Return the config with computed values for options that are None.

    Its per-resolution tables have an entry for every resolution of the run.

    Raises UserError for options that cannot run.
    """
    architecture = networks.NETWORKS[config.networks.network]
    checks.check_bounds(config)
    checks.check_task(config, architecture)
    checks.check_networks(config, architecture)
    checks.check_objective(config)
    checks.check_stop(config)
    resolutions = _resolutions(config, architecture)
    changes: dict = {n: value for n, value in default_values(config, architecture).items() if config.value(n) is None}
    if config.objective.content_weight is None:
        changes["content_weight"] = losses.CONTENT[config.objective.content]
    changes |= {"resolutions": resolutions, "target_res": resolutions[-1], **_penalty(config, architecture)}
    changes["shape"] = shapes.name_aspect(config.networks.aspect)
    for name in _TABLES:
        table = changes.get(name) or config.value(name)
        changes[name] = {r: schedule.lookup(table, r) for r in resolutions} if table else None
    changes["fade_images"][resolutions[0]] = 0  # there is no stage before it to fade in from
    checks.check_groups(config, architecture, changes["batch"])
    return config.replace(**changes)


def resolve(asked: Mapping) -> Plan:
    """Return the plan of a run with these requested options.

    Raises UserError for options that cannot run.

    asked: {option: value}; 'recipe' is the name of the recipe (default: the default recipe).
    """
    asked = parsing.split_size(asked)
    values = settings(asked)
    side = values["target_res"] or (values["resolutions"] or (0,))[-1]
    if values["patch"] and side and "patch" not in asked:  # a recipe's crops are no larger than the images
        side = min(shapes.shape_at(side, shapes.parse_aspect(values["shape"] or "1:1")))
        values["patch"] = min(values["patch"], side - side % values["scale"] or side)
    config = complete(Config().replace(**values))
    checks.check_new(config)
    return Plan(config, dict(asked)).with_rest()


def load(path: str | Path) -> Plan:
    """Return the plan in the config.json at `path`.

    Options that an older version of this program left None have a value in the plan.
    """
    written = parsing.read(path)
    return Plan(complete(written.config), written.asked or {})


@dataclass(frozen=True)
class Base:
    """The options that typed options are applied to: those of a recipe or of a config.json."""

    asked: Mapping  # {option: value} of the requested options, including 'recipe'
    said: Collection[str]  # names of the options that the recipe or the config.json sets
    written: Written | None = None  # content of the config.json; None for a recipe

    @classmethod
    def of_recipe(cls, name: str, settings: Mapping = types.MappingProxyType({})) -> Base:
        """Return a base with the options of a recipe.

        Args:
            name: name of the recipe.
            settings: {option: value} to use instead of the recipe's own values.
        """
        return cls({"recipe": name, **settings}, recipes.list_said(name))

    @classmethod
    def of_file(cls, path: str | Path) -> Base:
        """Return a base with the options of a run's config.json, which sets every option.

        path: path of the config.json.
        """
        written = parsing.read(path)
        return cls(asked_of(written), FIELDS, written)

    @property
    def values(self) -> dict[str, typing.Any]:
        """{option: value} of all options of the base, see `settings`."""
        return settings(self.asked)

    def plan(self, options: Mapping, theirs: Config | None = None) -> Plan:
        """Return the plan of a run with this base and the typed options, which take precedence.

        If the base is a config.json, options that the typed ones do not affect keep the value in
        it, even if a default of this program has changed since. All of them are checked together.

        Args:
            options: {option: value} of the options that were typed.
            theirs: config of a run whose weights the new run starts with, or None. It sets those
                options of the networks that neither the base nor `options` sets.

        Raises:
            UserError: if the run would not be possible, or if a typed option has no effect.
        """
        before = self.written.config.networks.resolutions if self.written else None
        asked = merge(self.asked, options, before)
        asked |= self._inherited(settings(asked), options, theirs)
        plan = resolve(asked)
        checks.check_read(plan.config, options)
        if self.written is None or self.written.asked is None:  # `asked` has all values that are not computed
            return plan
        replaced = {*options, *(n for pair in _ALTERNATIVES if options.keys() & set(pair) for n in pair)}
        old, new = resolve(self.asked).config.values(), plan.config.values()
        if self.asked.get("minutes") is not None and (
            options.keys() & {"minutes", "total_images"} or any(old[name] != new[name] for name in OF_MINUTES)
        ):
            replaced |= {*OF_MINUTES, "minutes"}  # what was computed for the minutes is computed anew
        kept = {}
        for name in (name for name in FIELDS if name not in replaced):
            value = self.written.config.value(name)
            if old[name] == new[name]:
                kept[name] = value
            elif name in _OF_STEPS and old[name] and new[name]:
                # More or fewer stages change the rows of a table; those of the stages of both runs stay.
                stays = [r for r in new[name] if old[name].get(r) == new[name][r] and r in (value or {})]
                kept[name] = new[name] | {r: value[r] for r in stays}
        return Plan(complete(plan.config.replace(**kept)), plan.asked, not options.keys() & {"batch", "size"})

    def _inherited(self, values: Mapping, options: Mapping, theirs: Config | None) -> dict:
        """Return {option: value} of options to take over from `theirs`.

        Args:
            values: {option: value} of all options; None where nothing sets a value.
            options: {option: value} of the options that were typed.
            theirs: see `plan`.
        """
        if theirs is None or values["network"] != theirs.networks.network:
            return {}
        shared = networks.NETWORKS[values["network"]].options_of_weights
        names = [n for n in shared if n not in self.said or values[n] is None]
        if self.written is not None:  # a config.json decides where the two differ
            names = [n for n in names if self.written.config.value(n) == theirs.value(n)]
        taken = {n: theirs.value(n) for n in names if n not in options and n != "conditional"}
        if taken.get("denoise") and values["degrade"] == "none" and "degrade" not in options:
            # The levels of noise that the weights know come from their damage.
            taken |= {n: theirs.value(n) for n in ("degrade", "degrade_strength") if n not in options}
        return taken
