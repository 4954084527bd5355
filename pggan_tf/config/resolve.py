"""Work out every option from those that were asked for, once: `resolve` -> a `Plan`, which is handed down."""

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

# Two ways to say the same: either replaces the other.
_ALTERNATIVES = (("target_res", "resolutions"), ("snapshot_images", "snapshot_epochs"))
_OF_A_PENALTY = ("penalty_weight", "penalty_every", "weight_clip")
_OF_A_LOSS = ("penalty", "drift", "lsgan_targets", "label_smoothing", *_OF_A_PENALTY)
_TABLES = ("batch", "learning_rate", "fade_images", "stable_images", "penalty_weight", "metrics_every")


def _reopened_by_network(below: Mapping, above: Mapping) -> dict:
    """Return {option: value} of what another network changes. below: all options; above: those that are put over them."""
    before, after = networks.NETWORKS[below["network"]], networks.NETWORKS[above["network"]]
    # An option that only one of them has says nothing of the other.
    out = {name: DEFAULTS[name] for name in {*before.structure} ^ {*after.structure} if name in FIELDS}
    if before.grows != after.grows and not above.keys() & {"target_res", "resolutions"}:
        size = below["resolutions"][-1] if below["resolutions"] else below["target_res"]
        out |= {"resolutions": None, "target_res": size}
    if after.grows and not before.grows:
        out["fade_images"] = DEFAULTS["fade_images"]
    return out | {"weight_clip": None}  # weights are of another size there


def _reopened_by_objective(below: Mapping, above: Mapping) -> dict:
    """Return {option: value} of what another loss or penalty changes: those of the former are not those of the new one."""
    loss = above.get("loss", below["loss"])
    penalty = below["penalty"] or losses.LOSSES[below["loss"]].penalty
    out: dict = {}
    if loss != below["loss"]:
        out |= {name: DEFAULTS[name] for name in _OF_A_LOSS}
        if loss == "none":  # the generator learns alone, from the first image to the last
            out["pretrain_images"] = 0
            if below["content"] == "discriminator":
                out["content"] = "none"
    elif above.get("penalty", penalty) != penalty:
        out |= {name: DEFAULTS[name] for name in _OF_A_PENALTY}
    if above.get("content", below["content"]) != below["content"]:
        out["content_weight"] = None
    return out


def reopened(below: Mapping, above: Mapping) -> dict:
    """Return {option: value} of the options whose values no longer hold where `above` is put over `below`.

    below: all options. above: some, which are not among the result.
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
    if "vgg_weights" in above and below["content"] == "discriminator":  # better features are at hand
        out = {**recipes.WITH_VGG19, "content_weight": None, **out}
    return {name: value for name, value in out.items() if name not in above}


def settings(asked: Mapping) -> dict[str, typing.Any]:
    """Return every option by name, from the defaults, the recipe over them and `asked` over both."""
    below = DEFAULTS | recipes.recipe(asked.get("recipe", DEFAULTS["recipe"]))
    return below | reopened(below, asked) | dict(asked)


def merge(asked: Mapping, changes: Mapping) -> dict:
    """Return the options of `asked` with `changes` over them."""
    dropped = reopened(settings(asked), changes)
    # A clip that somebody asked for stays; a recipe's belongs to its loss and its network.
    dropped.pop("weight_clip", None)
    merged = {name: value for name, value in asked.items() if name not in dropped} | dict(changes)
    found = settings(merged)
    return merged | {name: value for name, value in dropped.items() if found[name] != value}


def asked_of(written: Written) -> dict:
    """Return the options that a config.json was made from. Older versions did not say: there, all of them but what follows."""
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
        except UserError:  # without it nothing could run
            continue
        if found.value(name) == values[name]:
            follows.append(name)
    return {name: value for name, value in values.items() if name not in follows}


def _resolutions(config: Config, architecture: networks.Architecture) -> tuple[int, ...]:
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


LEAST_CLIP = 0.5  # of equalised weights


def _penalty(config: Config, architecture: networks.Architecture) -> dict:
    """Return {option: value} of the penalty, and of what it needs of the discriminator."""
    options, network = config.objective, config.networks
    loss = losses.LOSSES[options.loss]
    penalty = options.penalty or loss.penalty
    # Another penalty than the loss's own starts from the weights of the loss that it belongs to.
    owners = [v for v in losses.LOSSES.values() if v.penalty == penalty.partition("+")[0].replace("2", "1")]
    owner = loss if penalty == loss.penalty else next(iter(owners), loss)
    changes: dict = {"penalty": penalty}
    if options.penalty_weight is None:
        changes["penalty_weight"] = {4: owner.penalty_weight}
    if options.penalty_every is None:
        changes["penalty_every"] = owner.penalty_every
    if options.drift is None:
        changes["drift"] = loss.drift
    # Equalised weights are stored at size 1. Clipped to 0.01 they pass on next to nothing, and batch normalisation does not
    # help: its scale is clipped as well. (At 32 px, logits spread by 1e-17; clipped to 0.1, by 1e-11; to 0.5, by 1e-3.)
    if architecture.equalized and (options.weight_clip or 1.0) < LEAST_CLIP:
        raise UserError(
            f"--weight-clip {options.weight_clip} with --network {network.network}: its weights are scaled as they are used, and so "
            f"small a critic says the same of every image. In its place give --penalty gp or --spectral all; or --weight-clip "
            f"{LEAST_CLIP} or more."
        )
    unbounded = penalty == "none" or not any((options.penalty_weight or {4: 1.0}).values())
    if loss.needs_bounded_critic and unbounded and network.spectral != "all" and options.weight_clip is None:
        # Arjovsky et al. 2017, algorithm 1: something has to keep the critic's slope small.
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
    """Return the config with a value for each open option and each resolution of a table. Refuses what cannot run."""
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
    changes["fade_images"][resolutions[0]] = 0  # there is nothing that it could fade in from
    checks.check_groups(config, architecture, changes["batch"])
    return config.replace(**changes)


def resolve(asked: Mapping) -> Plan:
    """Work out every option from those that are asked for: {option: value}, of which 'recipe' is one.

    Raises UserError for what cannot run.
    """
    return Plan(complete(Config().replace(**settings(asked))), dict(asked))


def load(path: str | Path) -> Plan:
    """Return the plan of a config.json, in which what an older version left open is worked out."""
    written = parsing.read(path)
    return Plan(complete(written.config), written.asked or {})


def options_of_weights(network: str) -> tuple[str, ...]:
    """Return the options that the weights of a network depend on, besides the sizes of its images."""
    structure = checks.structure_options(networks.NETWORKS[network])
    names = (name for name in structure if name not in ("patch", "dropout"))
    return tuple(dict.fromkeys(("task", "network", "conditional", "channels", *names)))


@dataclass(frozen=True)
class Base:
    """What options are put over: a recipe, or a run's config.json."""

    asked: Mapping  # {option: value} that it stands for, with 'recipe'
    said: Collection[str]  # options that it has a value of its own for
    written: Written | None = None  # the config.json

    @classmethod
    def of_recipe(cls, name: str, settings: Mapping = types.MappingProxyType({})) -> Base:
        """Return a recipe, with settings in place of its own."""
        return cls({"recipe": name, **settings}, recipes.recipe(name))

    @classmethod
    def of_file(cls, path: str | Path) -> Base:
        """Return a config.json. What its recipe leaves open is said there, too."""
        written = parsing.read(path)
        return cls(asked_of(written), FIELDS, written)

    @property
    def values(self) -> dict[str, typing.Any]:
        return settings(self.asked)

    def plan(self, options: Mapping, theirs: Config | None = None) -> Plan:
        """Return the plan with `options` over the base. Raises UserError for one that nothing would read.

        What they do not change stays as a config.json has it, even where a default is another by now.

        Args:
            options: {option: value} of those that were typed.
            theirs: config of a run whose weights are used: what neither the base nor an option says of the networks is as there.
        """
        asked = merge(self.asked, options) | self._inherited(options, theirs)
        plan = resolve(asked)
        checks.check_read(plan.config, options)
        if self.written is None or self.written.asked is None:  # all that did not follow is in `asked`
            return plan
        before, after = resolve(self.asked).config.values(), plan.config.values()
        alike = [name for name in FIELDS if name not in options and before[name] == after[name]]
        return plan.replace(**{name: self.written.config.value(name) for name in alike})

    def _inherited(self, options: Mapping, theirs: Config | None) -> dict:
        values = settings(merge(self.asked, options))
        if theirs is None or values["network"] != theirs.networks.network:
            return {}
        names = [n for n in options_of_weights(values["network"]) if n not in self.said or values[n] is None]
        return {n: theirs.value(n) for n in names if n not in options and n != "conditional"}


def repeat(written: Written, changes: Mapping = types.MappingProxyType({})) -> Plan:
    """Return the plan of a config.json with `changes` over it."""
    return Base(asked_of(written), FIELDS, written).plan(changes)
