"""Resolve options: compute a `Plan` with the value of every option from the requested ones."""

from __future__ import annotations

import types
import typing
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from pggan_tf import losses, networks, schedule, tasks
from pggan_tf.config import checks, parsing, recipes
from pggan_tf.config.parsing import Written
from pggan_tf.config.plan import Plan, default_values
from pggan_tf.config.schema import DEFAULTS, FIELDS, Config
from pggan_tf.errors import UserError

# Pairs of options that mean the same: giving one resets the other.
_ALTERNATIVES = (("target_res", "resolutions"), ("snapshot_images", "snapshot_epochs"))
_OF_A_PENALTY = ("penalty_weight", "penalty_every", "weight_clip")
_OF_A_LOSS = ("penalty", "drift", "lsgan_targets", "label_smoothing", *_OF_A_PENALTY)
_TABLES = ("batch", "learning_rate", "fade_images", "stable_images", "penalty_weight", "metrics_every")


def _reopened_by_network(below: Mapping, above: Mapping) -> dict:
    """Return {option: value} of the options to reset if `above` changes the network.

    below: all options; above: options that replace some of them.
    """
    before, after = networks.NETWORKS[below["network"]], networks.NETWORKS[above["network"]]
    # The value of an option that only one network has means nothing for the other.
    out = {name: DEFAULTS[name] for name in {*before.structure} ^ {*after.structure} if name in FIELDS}
    if before.grows != after.grows and not above.keys() & {"target_res", "resolutions"}:
        size = below["resolutions"][-1] if below["resolutions"] else below["target_res"]
        out |= {"resolutions": None, "target_res": size}
    if after.grows and not before.grows:
        out["fade_images"] = DEFAULTS["fade_images"]
    return out | {"weight_clip": None}  # the weights of another network have another size


def _reopened_by_objective(below: Mapping, above: Mapping) -> dict:
    """Return {option: value} of the options to reset if `above` changes the loss or the penalty.

    below: all options; above: options that replace some of them.
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
    """Return {option: new value} of options that `above` invalidates and does not set itself.

    below: all options; above: options that replace some of them.
    """
    out: dict = {}
    for pair in _ALTERNATIVES:
        if above.keys() & set(pair):
            out |= dict.fromkeys(pair)
    if above.get("network", below["network"]) != below["network"]:
        out |= _reopened_by_network(below, above)
    out |= _reopened_by_objective(below, above)
    if "inception_weights" in above and below["metrics"] and not tasks.TASKS[below["task"]].from_images:
        out["metrics"] = tuple(dict.fromkeys([*below["metrics"], "fid"]))
    if "vgg_weights" in above and below["content"] == "discriminator":  # better features are available
        out = {**recipes.WITH_VGG19, "content_weight": None, **out}
    return {name: value for name, value in out.items() if name not in above}


def settings(asked: Mapping) -> dict[str, typing.Any]:
    """Return {option: value} of all options: `asked` over the recipe over the defaults."""
    below = DEFAULTS | recipes.recipe(asked.get("recipe", DEFAULTS["recipe"]))
    return below | reopened(below, asked) | dict(asked)


def merge(asked: Mapping, changes: Mapping) -> dict:
    """Return the options of `asked`, with `changes` replacing or resetting some of them."""
    dropped = reopened(settings(asked), changes)
    # A requested --weight-clip stays; that of a recipe belongs to the recipe's loss and network.
    dropped.pop("weight_clip", None)
    merged = {name: value for name, value in asked.items() if name not in dropped} | dict(changes)
    found = settings(merged)
    return merged | {name: value for name, value in dropped.items() if found[name] != value}


def asked_of(written: Written) -> dict:
    """Return the requested options that a config.json was made from.

    Versions 1 and 2 do not contain them. For these, return all options except those that `complete`
    would give the same value.
    """
    if written.asked is not None:
        return written.asked
    values = written.config.values()
    said = recipes.RECIPES.get(values["recipe"], {})
    follows = []
    for name in ("discriminator_norm", "weight_clip", "generator_norm", "conv"):
        if name == "conv" and name in said:
            continue
        try:
            found = complete(written.config.replace(**{name: None}))
        except UserError:  # the config is not valid without this option
            continue
        if found.value(name) == values[name]:
            follows.append(name)
    return {name: value for name, value in values.items() if name not in follows}


def _resolutions(config: Config, architecture: networks.Architecture) -> tuple[int, ...]:
    """Return the resolutions of all stages. Raises UserError if the networks cannot have them."""
    target_res, resolutions = config.networks.target_res, config.networks.resolutions
    if resolutions:
        resolutions = schedule.check_resolutions(resolutions)
        if target_res not in (None, resolutions[-1]):
            raise UserError(
                f"--target-res {target_res} and --resolutions that end at {resolutions[-1]}: give one of them."
            )
    elif architecture.grows:
        resolutions = schedule.doubling(64 if target_res is None else target_res)
    elif architecture.any_size:
        resolutions = schedule.check_resolutions((target_res or 32,))
    else:
        resolutions = schedule.doubling(target_res or 32)[-1:]
    checks.check_size(config, architecture, resolutions)
    return resolutions


LEAST_CLIP = 0.5  # smallest --weight-clip for equalised weights


def _penalty(config: Config, architecture: networks.Architecture) -> dict:
    """Return {option: value} of the penalty, and of the discriminator's options that it determines.

    Raises UserError if they do not go together.
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
    """Return the config with a value for every option that is None and every resolution of a table.

    Raises UserError for options that cannot run.
    """
    architecture = networks.NETWORKS[config.networks.network]
    checks.check_bounds(config)
    checks.check_task(config, architecture)
    checks.check_networks(config, architecture)
    checks.check_objective(config)
    resolutions = _resolutions(config, architecture)
    changes: dict = {n: value for n, value in default_values(config, architecture).items() if config.value(n) is None}
    if config.objective.content_weight is None:
        changes["content_weight"] = losses.CONTENT[config.objective.content]
    changes |= {"resolutions": resolutions, "target_res": resolutions[-1], **_penalty(config, architecture)}
    for name in _TABLES:
        table = changes.get(name) or config.value(name)
        changes[name] = {r: schedule.lookup(table, r) for r in resolutions} if table else None
    changes["fade_images"][resolutions[0]] = 0  # there is no stage before it to fade in from
    checks.check_groups(config, architecture, changes["batch"])
    return config.replace(**changes)


def resolve(asked: Mapping) -> Plan:
    """Compute the plan of a run from the requested options, {option: value} including 'recipe'.

    Raises UserError for options that cannot run.
    """
    return Plan(complete(Config().replace(**settings(asked))), dict(asked))


def load(path: str | Path) -> Plan:
    """Return the plan in a config.json, with values for options that an older version left None."""
    written = parsing.read(path)
    return Plan(complete(written.config), written.asked or {})


def options_of_weights(network: str) -> tuple[str, ...]:
    """Return the options that must be equal for a network to take over weights.

    Image sizes are not among them.
    """
    structure = checks.structure_options(networks.NETWORKS[network])
    names = (name for name in structure if name not in ("patch", "dropout"))
    return tuple(dict.fromkeys(("task", "network", "conditional", "channels", *names)))


@dataclass(frozen=True)
class Base:
    """A recipe or a run's config.json, whose options typed options can replace."""

    asked: Mapping  # {option: value} of the recipe or the config.json, with 'recipe'
    said: Collection[str]  # options that the recipe or the config.json sets
    written: Written | None = None  # the config.json

    @classmethod
    def of_recipe(cls, name: str, settings: Mapping = types.MappingProxyType({})) -> Base:
        """Return the base of a recipe. settings: {option: value} in place of the recipe's own."""
        return cls({"recipe": name, **settings}, recipes.recipe(name))

    @classmethod
    def of_file(cls, path: str | Path) -> Base:
        """Return the base of a config.json, which has a value for every option."""
        written = parsing.read(path)
        return cls(asked_of(written), FIELDS, written)

    @property
    def values(self) -> dict[str, typing.Any]:
        return settings(self.asked)

    def plan(self, options: Mapping, theirs: Config | None = None) -> Plan:
        """Return the plan with `options` in place of the base's.

        Options that they do not affect keep their values from a config.json, even if a default has
        changed since. Raises UserError for an option without an effect.

        Args:
            options: {option: value} that were typed.
            theirs: config of a run whose weights are used, or None. It sets those options of the
                networks that neither the base nor `options` sets.
        """
        asked = merge(self.asked, options) | self._inherited(options, theirs)
        plan = resolve(asked)
        checks.check_read(plan.config, options)
        if self.written is None or self.written.asked is None:  # `asked` has all values that are not computed
            return plan
        before, after = resolve(self.asked).config.values(), plan.config.values()
        alike = [name for name in FIELDS if name not in options and before[name] == after[name]]
        return plan.replace(**{name: self.written.config.value(name) for name in alike})

    def _inherited(self, options: Mapping, theirs: Config | None) -> dict:
        """Return {option: value} of options to take over from `theirs`, see `plan`."""
        values = settings(merge(self.asked, options))
        if theirs is None or values["network"] != theirs.networks.network:
            return {}
        names = [n for n in options_of_weights(values["network"]) if n not in self.said or values[n] is None]
        return {n: theirs.value(n) for n in names if n not in options and n != "conditional"}


def repeat(written: Written, changes: Mapping = types.MappingProxyType({})) -> Plan:
    """Return the plan of a config.json, with `changes` in place of some of its options."""
    return Base(asked_of(written), FIELDS, written).plan(changes)
