import dataclasses
import json
import types

import pytest

from pggan_tf.commands import train
from pggan_tf.config import Plan, as_typed, load, parse, parsing, recipes, resolve
from pggan_tf.config.checks import check_read
from pggan_tf.config.resolve import Base, asked_of, complete, merge
from pggan_tf.config.schema import FIELDS, GROUP_OF, Config
from pggan_tf.errors import UserError


def read(content):
    """The options of what a config.json holds."""
    return parsing.from_json(json.loads(json.dumps(content)))


def repeat(written, changes=types.MappingProxyType({})):
    """The plan of `train --config`, with the options that are typed."""
    return Base(asked_of(written), FIELDS, written).plan(changes)


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_a_config_survives_json(name):
    plan = resolve({"recipe": name})
    written = read(plan.to_json())
    assert (written.version, written.config, written.asked) == (parsing.VERSION, plan.config, {"recipe": name})
    assert complete(plan.config) == plan.config, "completing twice changes nothing"
    flat = read({"version": 2, **plan.config.values()})
    assert (flat.config, flat.asked) == (plan.config, None)
    assert repeat(flat, {}).config == repeat(written, {}).config == plan.config


def test_repeating_keeps_what_later_defaults_would_change():
    plan = resolve({"target_res": 16})
    then = dataclasses.replace(read(plan.to_json()), config=plan.config.replace(adam_epsilon=1e-4, conv="standard"))
    again = repeat(then, {"fmap_max": 32}).config
    assert (again.optimization.adam_epsilon, again.networks.conv, again.networks.fmap_max) == (1e-4, "standard", 32)
    assert repeat(then, {"network": "dcgan"}).config.networks.conv is None, "but for what follows from a change"


def test_growing_further_keeps_the_tables_of_the_run():
    content = resolve({"recipe": "pggan", "target_res": 16, "learning_rate": {4: 1e-3}}).to_json()
    content["optimization"]["batch"] = {"4": 32, "8": 16, "16": 12}  # as an earlier version had them
    content["objective"]["penalty_weight"] = {"4": 1.0, "8": 1.0, "16": 2.0}
    config = repeat(read(content), {"target_res": 32}).config
    assert config.value("batch") == {4: 32, 8: 16, 16: 12, 32: 4}, "32 px has the recipe's"
    assert config.value("penalty_weight") == {4: 1.0, 8: 1.0, 16: 2.0, 32: 0.3}
    assert config.value("learning_rate") == dict.fromkeys((4, 8, 16, 32), 1e-3)
    fewer = repeat(read(content), {"target_res": 8}).config
    assert fewer.value("batch") == {4: 32, 8: 16} and fewer.value("penalty_weight") == {4: 1.0, 8: 1.0}
    typed = repeat(read(content), {"target_res": 32, "batch": {4: 8}}).config
    assert typed.value("batch") == dict.fromkeys((4, 8, 16, 32), 8), "a table that is typed counts as a whole"
    other = repeat(read(content), {"loss": "wgan-gp", "target_res": 32}).config
    assert set(other.value("penalty_weight").values()) == {10.0}, "another loss has another penalty"


def test_options_that_were_asked_for_stay_over_another_recipe_s_rules():
    plan = resolve({"recipe": "lsgan", "fmap_max": 32})
    assert merge(plan.asked, {"loss": "hinge"}) == {"recipe": "lsgan", "fmap_max": 32, "loss": "hinge"}
    assert repeat(read(plan.to_json()), {"loss": "hinge"}).config.objective.lsgan_targets is None


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_every_recipe_is_complete_and_has_a_schedule(name):
    plan = resolve({"recipe": name})
    assert plan.phases[-1].resolution == plan.config.networks.target_res == plan.config.networks.resolutions[-1]
    open_options = {option for option, value in plan.config.values().items() if value is None}
    if "conv" not in plan.architecture.structure:
        open_options.remove("conv")
    assert open_options <= {
        *("data", "init_from", "lsgan_targets", "total_images", "minutes", "patch", "snapshot_epochs", "metrics"),
        *(
            "metrics_every",
            "inception_weights",
            "snapshot_images",
            "vgg_weights",
            "stage_growth",
            "weight_clip",
            "log",
            "size",
            "exact",
        ),
    }


def test_the_paper_s_schedule():
    plan = resolve({"recipe": "pggan-paper", "target_res": 1024})
    optimization = plan.config.optimization
    assert optimization.batch == {4: 128, 8: 128, 16: 128, 32: 64, 64: 32, 128: 16, 256: 8, 512: 4, 1024: 4}
    assert optimization.learning_rate[512] == 1e-3 and optimization.learning_rate[1024] == 1.5e-3
    assert len(plan.phases) == 17 and {round(p.images, -3) for p in plan.phases[:-1]} == {600_000}
    assert plan.phases[-1].end == pytest.approx(12_000_000, abs=400), "the last stage gets the rest"
    o = plan.objective(4)
    assert (o.penalty, o.penalty_weight, o.penalty_every, o.penalty_target, o.drift) == ("gp", 10.0, 1, 1.0, 1e-3)


def test_total_images_scales_the_schedule_and_gives_the_rest_to_the_last_stage():
    stages = {"target_res": 16, "fade_images": {4: 6_400}, "stable_images": {4: 19_200}, "batch": {4: 64}}
    images = [[p.images for p in resolve({**stages, "total_images": n}).phases] for n in (35_200, 70_400, 100_032)]
    assert images == [
        [9_600, 3_200, 9_600, 3_200, 9_600],
        [19_200, 6_400, 19_200, 6_400, 19_200],
        [19_200, 6_400, 19_200, 6_400, 48_832],
    ]
    alone = resolve({"recipe": "dcgan", "total_images": 2_000_000, "stable_images": {4: 1_000_000}})
    assert alone.phases[-1].end == pytest.approx(2_000_000, abs=128) and alone.config.schedule.stable_images == {
        32: 1_000_000
    }


def test_total_images_that_are_fewer_than_the_plan_s_steps():
    def asked(total):
        plan = resolve({"total_images": total})
        plan.check_total_images()
        return plan.too_long()

    (line,) = asked(10)
    assert "--total-images 10: the plan has 80" in line and "one step of each comes to 80" in line
    assert asked(100_000) == []
    with pytest.raises(UserError, match="9 of the plan's 9 phases would have no image. Give 9 or more"):
        asked(4)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"target_res": 100}, "64 and 128"),
        ({"target_res": 64, "resolutions": (4, 8)}, "give one of them"),
        ({"batch": {4: 6}}, "multiple of --stddev-group 4.*4 and 8"),
        ({"lsgan_targets": (1.0, 2.0, 3.0)}, "belongs to --loss lsgan"),
        ({"loss": "lsgan", "lsgan_targets": (1.0,)}, "three numbers"),
        ({"loss": "lsgan", "lsgan_targets": (1.0, -1.0, 0.0)}, "a below b"),
        ({"minutes": -1.0}, "more than 0"),
        ({"adam_betas": (0.5,)}, "two numbers"),
        ({"latent_size": 0}, "1 or more"),
        ({"learning_rate": {4: float("nan")}}, "--learning-rate nan"),
    ],
)
def test_what_cannot_run_is_refused(changes, words):
    with pytest.raises(UserError, match=words):
        resolve(changes)


@pytest.mark.parametrize(
    "values, words",
    [
        ({"version": 99}, "version 99"),
        ({"fmap_bas": 1}, "fmap_bas: not known; did you mean fmap_base"),
        ({"seed": "x"}, "--seed x: not a whole number"),
        ({"mirror": "yes"}, "true or false"),
        ({"loss": "wgan-pg"}, "--loss wgan-pg: not known; did you mean .*wgan-gp"),
        ({"batch": "4=8,x=3"}, "--batch x"),
        ({"batch": {"4": -8}}, "below zero"),
    ],
)
def test_bad_json_is_named(values, words):
    with pytest.raises(UserError, match=words):
        parsing.from_json(values)


def test_a_loss_of_another_program_is_named_with_what_to_do(tmp_path):
    content = resolve({"recipe": "pggan"}).to_json()
    content["objective"]["loss"] = "paired"
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="--loss paired: not known.*a program that adds it to pg.LOSSES first"):
        parsing.read(tmp_path / "config.json")


def test_crops_of_a_recipe_are_no_larger_than_the_images():
    assert resolve({"recipe": "srgan", "target_res": 32}).config.purpose.patch == 32
    assert resolve({"recipe": "srgan", "target_res": 64, "shape": "1:2"}).config.purpose.patch == 32
    assert resolve({"recipe": "srgan", "target_res": 256}).config.purpose.patch == 96
    assert resolve({"recipe": "srgan", "target_res": 90}).config.purpose.patch == 88, "a multiple of --scale"
    assert resolve({"recipe": "srgan", "resolutions": (64,)}).config.purpose.patch == 64
    with pytest.raises(UserError, match="--patch 96: expected 4 to 32"):
        resolve({"recipe": "srgan", "target_res": 32, "patch": 96})


def test_what_would_never_come_or_learn_is_refused():
    with pytest.raises(UserError, match="--stop plateau: images of less than 8 px are not measured"):
        resolve({"target_res": 4, "stop": "plateau", "metrics": ("swd",)})
    with pytest.raises(UserError, match="--learning-rate .*0.*more than 0"):
        resolve({"learning_rate": {4: 0.0}})


def test_runs_of_before_are_read_though_new_ones_are_refused(tmp_path):
    content = resolve({"target_res": 4, "metrics": ("swd",)}).to_json()
    content["optimization"]["learning_rate"] = {"4": 0.0}
    content["running"]["stop"] = "plateau"
    (tmp_path / "config.json").write_text(json.dumps(content))
    assert load(tmp_path / "config.json").config.optimization.learning_rate == {4: 0.0}


def test_help_says_what_the_default_recipe_has():
    helps = {option.name: option.help for option in train.command.params if getattr(option, "help", "")}
    assert "[1024 in --recipe pggan, else 2048]" in helps["fmap_base"] and "[128]" in helps["fmap_max"]


def test_tables_on_the_command_line():
    assert parse("batch", "16") == {4: 16}
    assert parse("batch", "32=8,4=64") == {4: 64, 32: 8}
    assert parse("learning_rate", "1e-3") == {4: 1e-3}
    assert parse("resolutions", "4,8,16,32,96") == (4, 8, 16, 32, 96)


SRGAN = {"task": "upscale", "network": "srresnet", "pixel": "mse", "target_res": 32}


@pytest.mark.parametrize("penalty", ["gp", "r1", "r2", "r1+r2"])
@pytest.mark.parametrize("loss", ["nonsaturating", "wgan", "hinge", "mse"])
def test_a_penalty_that_is_asked_for_has_a_weight(loss, penalty):
    objective = resolve({"loss": loss, "penalty": penalty}).config.objective
    usual = {"gp": (10.0, 1)}.get(penalty, (0.3, 16))
    assert (objective.penalty_weight[4], objective.penalty_every) == usual


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"network": "dcgan", "resolutions": (48,)}, "a power of two"),
        ({"network": "dcgan", "loss": "wgan-gp", "discriminator_norm": "batch"}, "each sample's own gradient"),
        ({"augment": "ada", "loss": "wgan-gp"}, "no sign to go by"),
        ({"conv": "separable", "spectral": "all"}, "Give --conv standard, or no --spectral"),
        ({"network": "dcgan", "conv": "separable"}, "--network dcgan does not have it"),
        ({"minibatch": "discrimination", "batch": {4: 1}}, "compares the images of a batch"),
        ({"loss": "wgan"}, "nothing bounds the critic. Give --penalty gp"),
        ({"loss": "wgan-gp", "penalty": "none"}, "--loss wgan-gp without a penalty"),
        ({"loss": "wgan-gp", "penalty_weight": {4: 0.0}}, "nothing bounds the critic"),
        ({"loss": "wgan", "spectral": "down"}, "nothing bounds the critic"),
        ({"loss": "hinge", "weight_clip": 0.01}, "says the same of every image"),
        ({"loss": "hinge", "weight_clip": 0.4, "discriminator_norm": "batch"}, "or --weight-clip 0.5 or more"),
        ({"loss": "wgan", "discriminator_norm": "batch", "conv": "standard"}, "nothing bounds the critic"),
        ({**SRGAN, "loss": "wgan", "discriminator_norm": "none"}, "--network srresnet: nothing bounds the critic"),
        ({**SRGAN, "loss": "wgan"}, "--network srresnet: nothing bounds the critic"),
        ({**SRGAN, "weight_clip": 0.01}, "--weight-clip 0.01 with --network srresnet"),
        ({"resolutions": (0, 1)}, "--resolutions 0,1: expected sizes from 2 to 1024"),
        ({"resolutions": (0,)}, "expected sizes from 2 to 1024"),
        ({"resolutions": (4, 0)}, "expected sizes from 2 to 1024"),
        ({"resolutions": (-4, 8)}, "expected sizes from 2 to 1024"),
        ({"resolutions": (1,)}, "expected sizes from 2 to 1024"),
    ],
)
def test_what_does_not_go_together(changes, message):
    with pytest.raises(UserError, match=message):
        resolve(changes)


def test_an_unbounded_critic_is_clipped():
    dcgan = {"network": "dcgan", "loss": "wgan-gp"}
    assert resolve({**dcgan, "penalty": "none"}).config.objective.weight_clip == 0.01
    assert resolve(dcgan).config.objective.weight_clip is None


def test_convolutions_are_separable_where_nothing_speaks_against_it():
    def conv(**changes):
        return resolve(changes).config.networks.conv

    assert conv() == conv(conv="separable") == "separable"
    assert conv(conv="standard") == conv(spectral="all") == "standard"
    assert conv(network="dcgan") is None
    published = ("pggan-paper", "pegasus", "faces-mse", "faces-bce-bn")
    assert {resolve({"recipe": name}).config.networks.conv for name in published} == {"standard"}


def test_configs_of_the_first_version_keep_their_convolutions():
    old = {"version": 1, "target_res": 32}
    assert complete(read(old).config).networks.conv == "standard"
    assert complete(read(old | {"conv": "separable"}).config).networks.conv == "separable"
    assert complete(read(old | {"network": "dcgan", "conv": "standard"}).config).networks.conv is None


def test_batches_of_stages_that_are_not_grown_through_do_not_matter():
    few = {"minibatch": "discrimination", "batch": {4: 8, 512: 1}, "target_res": 32}
    assert resolve(few).config.optimization.batch[32] == 8


def test_a_critic_with_gp_has_no_batch_normalisation():
    assert resolve({"network": "dcgan", "loss": "wgan-gp"}).config.networks.discriminator_norm == "none"


def test_a_config_from_before_a_field_gets_its_usual_value():
    """A run's config.json is not completed again: what it lacks must not change its networks."""
    old = {k: v for k, v in resolve({}).config.values().items() if k != "generator_norm"}
    assert Plan(read({"version": 2, **old}).config, {}).network_options(())["generator_norm"] == "pixel"


@pytest.mark.parametrize(
    "recipe, given, words",
    [
        ("pggan", {"pixel_weight": 2.0}, "--pixel-weight: nothing would read it"),
        ("pggan", {"class_weight": 2.0}, "it belongs to --conditional"),
        ("srgan", {"latent_size": 8}, "--network srresnet does not have it"),
        ("dcgan", {"fade_images": {4: 10}}, "does not grow"),
        ("dcgan", {"penalty_weight": {4: 1.0}}, "there is no penalty"),
        ("recolor", {"weight_clip": 0.1}, "there is no discriminator"),
        ("pggan", {"features": "random"}, "it belongs to --metrics"),
        ("pggan", {"stage_growth": 2.0}, "it belongs to --minutes"),
    ],
)
def test_options_that_nothing_would_read_are_refused(recipe, given, words):
    config = resolve({"recipe": recipe, **given}).config
    with pytest.raises(UserError, match=words):
        check_read(config, given)
    check_read(config, ["learning_rate", "batch", "loss", "target_res", "stable_images"])


@pytest.mark.parametrize("network", ["dcgan", "progressive"])
def test_version_1_without_convolutions(network):
    old = {"version": 1, "network": network, "conv": None, "target_res": 32}
    assert complete(read(old).config).networks.conv == (None if network == "dcgan" else "standard")


@pytest.mark.parametrize("version", [0, -3, True, "1", None, 1.0, parsing.VERSION + 1])
def test_versions_that_are_none(version):
    with pytest.raises(UserError, match="Update pggan-tf" if version == parsing.VERSION + 1 else "expected 1 to"):
        parsing.from_json({"version": version})


def test_data_may_be_given_again(tmp_path, monkeypatch):
    from cloud import commands
    from pggan_tf.runs import folder as run
    from pggan_tf.training import requests

    def config_of(*places):
        words = [word for place in places for word in ("--data", place)]
        (plan,) = commands.parse(["train", "--target-res", "8", *words]).plans
        assert read(plan.to_json()).config == plan.config
        return plan.config.images

    both = config_of("a,b", "tfds:c")
    assert both.data == ("a,b", "tfds:c") and as_typed("data", both.data) == "--data a,b --data tfds:c"
    assert config_of("a,b").data == "a,b" and config_of().data is None
    assert (
        run.make_name("pggan", both.data, "8") == "pggan-a-b-tfds-c-8"
        and run.make_name("pggan", None, "8") == "pggan-portraits-8"
    )
    assert run.make_name("pggan", "写" * 85, "8") == f"pggan-{'写' * 26}-8"  # 78 bytes
    with pytest.raises(UserError, match="--data .*expected text, or a list of it"):
        parsing.from_json({"data": [1]})
    monkeypatch.chdir(tmp_path)
    for name in ("here", "pairs:x", "a::b"):
        (tmp_path / name).mkdir()
    given = requests.absolute({"data": ("here", "pairs:x", "pairs:y", "tfds:c", "a::b", "s3://x/y")})
    assert given["data"] == (
        f"{tmp_path}/here", f"{tmp_path}/pairs:x", f"pairs:{tmp_path}/y", "tfds:c", f"{tmp_path}/a::b", "s3://x/y"
    )  # fmt: skip


def test_a_file_nested_without_end_is_no_config(tmp_path):
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match="config.json: not JSON .*Expected the config.json of a run"):
        parsing.read(tmp_path / "config.json")


@pytest.mark.parametrize(
    "recipe, changes",
    [
        ("faces-bce-bn", {"generator_norm": "pixel"}),
        ("faces-bce-bn", {"discriminator_norm": "none"}),
        ("pegasus", {"generator_norm": "pixel"}),
        ("pegasus", {"discriminator_norm": "none"}),
        ("sngan", {"discriminator_norm": "batch"}),
        ("colorize", {"generator_norm": "batch"}),
        ("colorize", {"discriminator_norm": "batch"}),
    ],
)
def test_version_2_keeps_norms_that_are_not_the_recipe_s(recipe, changes):
    then = resolve({"recipe": recipe, **changes}).config
    assert repeat(read({"version": 2, **then.values()})).config == then


def _edited(**values):
    """Return the parsed content of the config.json of a run to 16 px, with other values in its groups."""
    content = json.loads(json.dumps(resolve({"recipe": "pggan", "target_res": 16}).to_json()))
    for name, value in values.items():
        content[GROUP_OF[name]][name] = value
    return read(content)


@pytest.mark.parametrize(
    "values, message",
    [
        ({"batch": 6}, "--batch 6 at 4 px: not a multiple of --stddev-group 4"),
        ({"target_res": 8}, "--target-res 8 and --resolutions that end at 16"),
        ({"network": "dcgan"}, "--conv separable: --network dcgan does not have it"),
        ({"grid": 0}, "--grid 0: expected 1 or more"),
    ],
)
def test_an_edited_config_is_checked(values, message):
    with pytest.raises(UserError, match=message):
        repeat(_edited(**values))


def test_what_a_config_leaves_out_is_worked_out():
    content = json.loads(json.dumps(resolve({"recipe": "pggan", "target_res": 16}).to_json()))
    del content["networks"]["resolutions"]
    assert repeat(read(content)).resolutions == (4, 8, 16)
    assert repeat(read({"version": 3})).config == complete(Config()), "not the recipe's values, which may be newer"


def test_a_config_decides_over_the_run_whose_weights_are_taken(tmp_path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(resolve({"recipe": "pggan", "target_res": 16}).to_json()))
    other = resolve({"recipe": "pggan", "conv": "standard"}).config
    assert Base.of_file(file).plan({}, other).config.networks.conv == "separable"
    assert Base.of_recipe("pggan").plan({}, other).config.networks.conv == "standard"


def test_another_network_keeps_the_size_of_the_config():
    assert repeat(read(resolve({"recipe": "pggan"}).to_json()), {"network": "dcgan"}).resolutions == (64,)


def test_a_recipe_that_is_gone_is_only_a_name():
    content = resolve({"recipe": "pggan", "latent_size": 32}).to_json()
    plan = repeat(read({**content, "recipe": "gone", "asked": {"latent_size": 32, "recipe": "gone"}}))
    assert plan.config.networks.latent_size == 32 and plan.config.recipe == "gone"


def test_snapshots_are_set_in_one_way():
    config = repeat(_edited(snapshot_images=200), {"snapshot_epochs": 2.0}).config
    assert (config.value("snapshot_images"), config.value("snapshot_epochs")) == (None, 2.0)
