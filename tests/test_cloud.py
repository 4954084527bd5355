"""Every file in cloud/ against its platform's own schema, and against what this project's command line takes. No network, no image."""

import json
import os
import re
import subprocess
import sys
import warnings
from importlib import util
from pathlib import Path
from unittest import mock

import pytest
import yaml

from cloud import commands
from cloud.azureml import submit
from pggan_tf import __version__
from pggan_tf.errors import UserError
from tests.conftest import ROOT, pggan
from tests.test_front_door import refused

AZUREML, KUBERNETES = ROOT / "cloud" / "azureml", ROOT / "cloud" / "kubernetes"
JOBS = ("job.yml", "distributed.yml", "sweep.yml")
NEEDS_AZURE = pytest.mark.skipif(
    util.find_spec("marshmallow") is None, reason='azure-ai-ml is not installed: pip install -e ".[azure]"'
)


def submitted(*arguments, **environment) -> tuple[int, str, str]:
    """`python -m cloud.azureml.submit ...`, which finds neither credentials nor a workspace here."""
    with mock.patch.dict(os.environ, elsewhere(**environment), clear=True), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Azure's packages; what a person sees of them, a process tells
        return pggan(*arguments, command=submit.command)


def elsewhere(**environment) -> dict:
    """The environment without what names a workspace. "dev": the credentials of tools on this machine, and no question to the
    network."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AZURE", "MLFLOW"))}
    return kept | {"AZURE_TOKEN_CREDENTIALS": "dev"} | environment


@pytest.mark.slow
@NEEDS_AZURE
@pytest.mark.parametrize("name", JOBS)
def test_azure_jobs_are_taken(name):
    if name == "job.yml":  # as it is typed: not even the libraries beneath say anything
        command = [sys.executable, "-m", "cloud.azureml.submit", AZUREML / name, "--dry-run"]
        done = subprocess.run(command, cwd=ROOT, env=elsewhere(), capture_output=True, text=True, timeout=120)
        code, out, err = done.returncode, done.stdout, done.stderr
    else:
        code, out, err = submitted(AZUREML / name, "--dry-run")
    assert code == 0 and not err, err
    assert "job that Azure ML and pggan-tf take" in out


@NEEDS_AZURE
def test_submitting_needs_a_workspace_and_credentials():
    refused(submitted(AZUREML / "job.yml"), "no workspace", *submit.WORKSPACE, "config.json")
    names = dict.fromkeys(submit.WORKSPACE, "00000000-0000-0000-0000-000000000000")
    refused(submitted(AZUREML / "job.yml", **names), "no credentials for Azure", "az login")
    refused(submitted(AZUREML / "job.yml", AZUREML_ARM_WORKSPACE_NAME="w"), "AZUREML_ARM_SUBSCRIPTION", "not set")


def test_submitting_says_what_is_not_installed():
    absent = "import sys; sys.modules['azure.ai.ml'] = None; from cloud.azureml import submit; from pggan_tf import entry; sys.exit(entry.main(submit.command, sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", absent, AZUREML / "job.yml", "--dry-run"], cwd=ROOT, capture_output=True, text=True
    )
    refused((done.returncode, done.stdout, done.stderr), "azure-ai-ml is not installed", r"pip install -e .*\[azure\]")


# What is wrong with a job, and the words that say so. Every one of them is found without a network.
BROKEN = {
    "undefined input": ("${{inputs.target_res}}", "${{inputs.target_size}}", "inputs.target_size.*did you mean inputs.target_res"),
    "undefined output": ("${{outputs.run}}", "${{outputs.runs}}", "outputs.runs.*did you mean outputs.run"),
    "unused input": ("  target_res: 256", "  target_res: 256\n  seed: 1", "inputs.seed.*does not use it"),
    "undefined in a variable": ("type: command", "type: command\nenvironment_variables: {A: '${{inputs.none}}'}", "inputs.none.*names it"),
    "unknown option": ("--target-res", "--target-resolution", "No such option.*--target-resolution"),
    "unknown value": ("--log mlflow", "--log wandb", "--log wandb: not known"),
    "value of an input": ("  target_res: 256", "  target_res: 100", "--target-res 100.*64 and 128"),
    "combination": ("--log mlflow", "--update one-stage --critic-steps 5", "--critic-steps 5 with --update one-stage"),
    "unknown verb": ("python train.py --data", "pggan trian --data", "pggan trian: no such command; did you mean train"),
    "missing script": ("python train.py", "python training.py", "training.py: no such file"),
    "missing code": ("code: ../..", "code: ../../nowhere", "code ../../nowhere: not found"),
    "missing environment": ("file:environment.yml", "file:env.yml", "env.yml: cannot be read"),
    "open quotes": ("--log mlflow", "--log 'mlflow", "(?i)no closing quotation.*Close the quotes"),
    "run on the node": ("--run ${{outputs.run}}", "--runs ${{outputs.run}}", "gone with the node.*--run"),
    "run not mounted": ("mode: rw_mount", "mode: upload", "mode upload.*rw_mount"),
    "nodes that do not train together": ("resources: {instance_count: 1}", "distribution: {type: tensorflow}\nresources: {instance_count: 4}", "4 workers.*--strategy multiworker"),
    "workers and nodes": ("instance_count: 1}", "instance_count: 2}\ndistribution: {type: tensorflow, worker_count: 4}", "worker_count 4 on 2 nodes"),
    "nodes that cannot find each other": ("resources: {instance_count: 1}", "distribution: {type: pytorch}\nresources: {instance_count: 2}", "distribution pytorch.*TF_CONFIG.*worker_count: 2"),
    "nodes without a distribution": ("instance_count: 1", "instance_count: 2", "2 nodes and distribution none"),
    "batches that nodes cannot share": ("--log mlflow\nresources: {instance_count: 1}", "--batch 64 --strategy multiworker\ndistribution: {type: tensorflow, worker_count: 3}\nresources: {instance_count: 3}", "--batch 64 at 4 px.*3 workers"),
    "option behind another program": ("python train.py --data", "exec env A=1 python -u train.py --dta", "No such option.*--dta"),
    "nothing to check": ("python train.py --data", "bash run.sh", "bash run.sh.*nothing could be checked"),
    "no nodes": ("instance_count: 1", "instance_count: 0", "resources.instance_count 0: expected a whole number from 1"),
    "nodes as text": ("instance_count: 1", "instance_count: '2'", "resources.instance_count '2': expected a whole number"),
    "run beside the output": ("--run ${{outputs.run}}", "--run ${{outputs.run}}/../x", "gone with the node.*--run"),
    "option behind nice": ("python train.py --data", "nice -n 19 timeout 3h python train.py --dta", "No such option.*--dta"),
    "option behind timeout": ("python train.py --data", "timeout -s KILL 3h env -u A python train.py --dta", "No such option.*--dta"),
    "option in a loop": ("python train.py --data", "for i in 1 2; do python train.py --dta", "No such option.*--dta"),
    "not YAML": ("type: command", "type: [command", "not YAML"),
    "another kind": ("type: command", "type: pipeline", "type pipeline: not a job of this project"),
}  # fmt: skip
# What azure-ai-ml itself finds.
BROKEN_FOR_AZURE = {
    "no command": ("command: >-", "commands: >-", "command : Missing data for required field"),
    "another shape": ("resources: {instance_count: 1}", "resources: 4", "resources : .*Invalid"),
    "unknown distribution": ("resources:", "distribution: {type: horovod}\nresources:", "distribution|horovod"),
    "unknown field": ("experiment_name:", "experiment:", "experiment"),
    "unknown mode": ("mode: ro_mount", "mode: mount", "mode|mount"),
}


@pytest.fixture
def broken(tmp_path):
    """job.yml with one place changed, in a folder where its paths still lead to the project."""

    def write(old, new):
        text = (AZUREML / "job.yml").read_text()
        assert old in text
        folder = tmp_path / "cloud" / "azureml"
        folder.mkdir(parents=True)
        for name in ("train.py", "cloud/Dockerfile"):
            (tmp_path / name).symlink_to(ROOT / name)
        for name in ("environment.yml", "conda.yml"):
            (folder / name).symlink_to(AZUREML / name)
        (folder / "job.yml").write_text(text.replace(old, new))
        return folder / "job.yml"

    return write


def test_a_job_that_is_not_broken_is_not_refused(broken):
    submit.check(broken("faces, 256 px", "faces"))


@pytest.mark.parametrize("what", BROKEN)
def test_broken_jobs_are_refused(broken, what):
    old, new, words = BROKEN[what]
    with pytest.raises(UserError, match=words) as error:
        submit.check(broken(old, new))
    assert "job.yml: " in str(error.value) or "env.yml" in str(error.value)
    assert "\n" not in str(error.value)


@NEEDS_AZURE
@pytest.mark.parametrize("what", BROKEN_FOR_AZURE)
def test_jobs_that_azure_would_not_take_are_refused(broken, what):
    old, new, words = BROKEN_FOR_AZURE[what]
    refused(submitted(broken(old, new), "--dry-run"), "job.yml", words)


@NEEDS_AZURE
def test_a_broken_job_through_the_front_door(broken):
    old, new, words = BROKEN["undefined input"]
    refused(submitted(broken(old, new), "--dry-run"), words)
    refused(submitted("nowhere.yml", "--dry-run"), "nowhere.yml: cannot be read")


def test_every_value_of_a_sweep_is_checked(tmp_path):
    text = (AZUREML / "sweep.yml").read_text()
    job = submit.load(AZUREML / "sweep.yml")
    tried = submit.scripts(job)
    assert len(tried) == 1 + 1 + 1 + 2
    rates = {re.search(r"--learning-rate (\S+)", script)[1][:6] for script in tried}
    assert rates == {"0.0005", "0.0100"}
    assert {re.search(r"--loss (\S+)", s)[1] for s in tried} == {"nonsaturating", "lsgan", "hinge"}
    for old, new, words in (
        ("hinge]", "hing]", "--loss hing: not known; did you mean hinge"),
        ("type: choice, values", "type: choices, values", "search_space.loss: type choices"),
        ("[nonsaturating, lsgan, hinge]", "[]", "search_space.loss: a choice without values"),
        ("${{search_space.loss}}", "hinge", "search_space.loss.*does not use it"),
        (" --log mlflow", "", "primary_metric best_swd: no trial logs it. Give train --log mlflow"),
        ("metric: best_swd", "metric: best_sdw", "primary_metric best_sdw: no trial logs it; did you mean best_swd"),
        ("--metrics swd", "--metrics ms-ssim", "primary_metric best_swd: no trial logs it"),
        ("goal: minimize", "goal: maximize", "goal maximize: best_swd gets better the other way. Give minimize"),
        ("mode: rw_mount}", "mode: rw_mount, path: azureml://x/paths/runs/}", "all trials would train in one folder"),
    ):
        file = tmp_path / "sweep.yml"
        file.write_text(text.replace("../..", str(ROOT)).replace("file:", f"file:{AZUREML}/").replace(old, new))
        with pytest.raises(UserError, match=words):
            submit.check(file)


def test_commands_are_found_in_scripts():
    script = "set -e; pip install x && A=1 B='2 3' pggan generate r --grid 'a b.png' \\\n --count 4 | tee log\npython -m pggan_tf report r"
    assert [w[0] for w in commands.simple_commands(script)] == ["set", "pip", "pggan", "tee", "python"]
    found = commands.verbs(script, ROOT)
    assert [v.name for v in found] == ["generate", "report"]
    assert found[0].options["grid"] == "a b.png" and found[0].options["count"] == 4
    (helped,) = commands.verbs("python train.py --help", ROOT)
    submit.check_kept(helped, {"type": "command"})  # it trains nothing that could be lost


@NEEDS_AZURE
def test_azure_environments_and_cluster(tmp_path):
    files = [AZUREML / name for name in ("environment.yml", "environment-conda.yml", "cluster.yml")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from azure.ai.ml import load_compute, load_environment

        built, conda, nodes = load_environment(files[0]), load_environment(files[1]), load_compute(files[2])
    assert built.build.dockerfile_path == "cloud/Dockerfile"
    assert conda.image == "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04"
    assert len(conda.conda_file["dependencies"]) == 3
    assert (nodes.tier, nodes.min_instances) == ("low_priority", 0)
    cluster = yaml.safe_load(files[2].read_text())
    for name in JOBS:
        assert yaml.safe_load((AZUREML / name).read_text())["compute"] == f"azureml:{cluster['name']}"


def requirements(*extras):
    """Of setup.cfg in the versions of constraints.txt, with the CUDA of TensorFlow, as the image installs them."""
    import configparser

    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    texts = [parser["options"]["install_requires"], *(parser["options.extras_require"][e] for e in extras)]
    lines = [line for text in texts for line in text.splitlines() if line and not line.startswith("#")]
    pins = dict(line.lower().split("==") for line in (ROOT / "constraints.txt").read_text().split())
    names = [re.match(r"[\w.-]+", line)[0] for line in lines]
    return {f"{re.sub('^tensorflow$', 'tensorflow[and-cuda]', name)}=={pins[name]}" for name in names}


def dockerfile():
    parse = pytest.importorskip("dockerfile_parse", reason="dockerfile-parse is not installed")
    return parse.DockerfileParser(str(ROOT / "cloud"), cache_content=True)


def test_the_conda_file_holds_the_packages_of_the_image():
    content = yaml.safe_load((AZUREML / "conda.yml").read_text())
    python, _, pip = content["dependencies"]
    parsed = dockerfile()
    azureml = re.search(r"azureml-mlflow==\S+", parsed.content)[0]
    assert set(pip["pip"]) == requirements("mlflow", "remote") | {azureml}
    assert python == "python=3.11" and parsed.baseimage.startswith("python:3.11-")


def test_the_dockerfile():
    parsed = dockerfile()
    steps = [(s["instruction"], s["value"]) for s in parsed.structure if s["instruction"] != "COMMENT"]
    assert {i for i, _ in steps} == {"FROM", "RUN", "WORKDIR", "COPY", "ENV", "CMD"}
    assert ":" in parsed.baseimage and not parsed.baseimage.endswith(":latest")
    program, *arguments = json.loads(dict(steps)["CMD"])
    assert program == "pggan"
    copied = [source for i, value in steps if i == "COPY" for source in value.split()[:-1]]
    ignored = (ROOT / ".dockerignore").read_text().split()
    for source in copied:
        assert (ROOT / source).exists() and source not in ignored, source
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert packages <= set(copied), "an import that works here would fail there"
    runs = " ".join(value for i, value in steps if i == "RUN")
    assert next(r for r in requirements() if r.startswith("tensorflow[")) in runs
    # What linters of Dockerfiles ask for.
    assert runs.count("pip install") == runs.count("pip install --no-cache-dir")
    assert "apt-get update     &&" in runs and "--no-install-recommends" in runs and "rm -rf /var/lib/apt/lists" in runs
    code = [sys.executable, "-m", "pggan_tf", *arguments]
    assert subprocess.run(code, cwd=ROOT, capture_output=True).returncode == 0


def documents(name):
    return list(yaml.safe_load_all((KUBERNETES / name).read_text()))


@pytest.mark.parametrize("name", ["volumes.yaml", "job.yaml", "distributed.yaml"])
def test_kubernetes_files_are_what_the_api_takes(name):
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    newest = validate.latest_version()
    for document in documents(name):
        for version in ("1.31", newest):
            validate.validate(document, version, strict=True)
    with pytest.raises(validate.ValidationError):
        validate.validate(documents(name)[0] | {"spce": {}}, newest, strict=True)


@pytest.mark.parametrize("name, workers", [("job.yaml", 1), ("distributed.yaml", 2)])
def test_kubernetes_jobs_train(name, workers):
    *services, job = documents(name)
    claims = {d["metadata"]["name"] for d in documents("volumes.yaml")}
    spec = job["spec"]["template"]["spec"]
    [container] = spec["containers"]
    mounts = {m["name"]: m["mountPath"] for m in container["volumeMounts"]}
    volumes = {v["name"]: v["persistentVolumeClaim"]["claimName"] for v in spec["volumes"]}
    assert mounts.keys() == volumes.keys() and set(volumes.values()) == claims
    *init, program = container["command"]
    assert init == ["tini", "--"] and program == "pggan"
    verb = commands.parse(container["args"])
    commands.check_workers([verb], workers)
    assert Path(verb.options["own_folder"]).parent == Path(mounts["runs"])
    assert Path(verb.options["data"]).is_relative_to(mounts["shards"])
    assert container["image"].endswith(f"pggan-tf:{__version__}")
    rules = job["spec"]["podFailurePolicy"]["rules"]
    assert {r["onExitCodes"]["containerName"] for r in rules if "onExitCodes" in r} == {container["name"]}
    assert spec["restartPolicy"] == "Never", "which podFailurePolicy needs"
    assert job["spec"].get("completions", 1) == job["spec"].get("parallelism", 1) == workers
    if workers > 1:
        [service] = services
        assert job["spec"]["completionMode"] == "Indexed" and service["spec"]["clusterIP"] == "None"
        assert service["metadata"]["name"] == spec["subdomain"] and service["spec"]["publishNotReadyAddresses"]
        assert service["spec"]["selector"].items() <= job["spec"]["template"]["metadata"]["labels"].items()
        [port] = {service["spec"]["ports"][0]["port"], container["ports"][0]["containerPort"]}
        variables = {v["name"]: v for v in container["env"]}
        assert list(variables).index("INDEX") < list(variables).index("TF_CONFIG"), (
            "only what stands before is filled in"
        )
        for index in range(workers):
            # As the kubelet fills it in; pods of an indexed job are named after the job and their number.
            config = json.loads(variables["TF_CONFIG"]["value"].replace("$(INDEX)", str(index)))
            hosts = [f"{job['metadata']['name']}-{i}.{spec['subdomain']}:{port}" for i in range(workers)]
            assert config == {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}}


def test_workers_and_strategy_go_together():
    alone, together = (commands.Verb("train", {"strategy": s}) for s in ("auto", "multiworker"))
    commands.check_workers([alone], 1)
    commands.check_workers([together], 4)
    with pytest.raises(UserError, match="4 workers.*--strategy multiworker"):
        commands.check_workers([alone], 4)
    with pytest.raises(UserError, match="one worker"):
        commands.check_workers([together], 1)
