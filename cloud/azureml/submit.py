"""Check a job file, including every option of its command line, and send it to Azure ML.

python -m cloud.azureml.submit JOB.yml
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports below, so that Ctrl-C is handled from here on
    import sys

    from pggan_tf import entry

    sys.exit(entry.run("cloud.azureml.submit:command"))

import logging
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path

import click
import yaml

from cloud import commands
from pggan_tf import metrics
from pggan_tf.errors import UserError, nearest
from pggan_tf.training import tracking

TYPES = ("command", "sweep")
# Environment variables that name the workspace on Azure's own machines.
WORKSPACE = ("AZUREML_ARM_SUBSCRIPTION", "AZUREML_ARM_RESOURCEGROUP", "AZUREML_ARM_WORKSPACE_NAME")
_REFERENCE = re.compile(r"\$\{\{\s*([^{}]*?)\s*\}\}")


def load(path: Path) -> dict:
    """Read a YAML file that holds a mapping. Raises UserError if it does not."""
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not YAML ({' '.join(str(error).split())}).") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected the fields of a job, such as type and command.")
    return content


def ends(name: str, distribution: Mapping) -> list[str]:
    """Return the values of a sweep's distribution that should be checked, as texts.

    These are all choices, the smallest and the largest value, or the median of a normal or
    lognormal distribution. Raises UserError for an unknown distribution.
    """
    kind, low, high = distribution.get("type"), distribution.get("min_value"), distribution.get("max_value")
    if isinstance(low, int | float) and isinstance(high, int | float) and low > high:
        raise UserError(f"search_space.{name}: min_value {low} is above max_value {high}.")
    try:
        return _list_ends(name, kind, distribution)
    except OverflowError:
        raise UserError(f"search_space.{name}: {kind} has exponents of e that no number can hold.") from None


def _list_ends(name: str, kind: str | None, distribution: Mapping) -> list[str]:
    """Return what `ends` returns, for a distribution of this kind."""
    if kind == "choice":
        if not distribution.get("values"):
            raise UserError(f"search_space.{name}: a choice without values.")
        return [str(v) for v in distribution["values"]]
    if kind == "randint":
        return ["0", str(distribution["upper"] - 1)]
    if kind in ("uniform", "quniform"):
        return [str(distribution[k]) for k in ("min_value", "max_value")]
    if kind in ("loguniform", "qloguniform"):  # Azure defines their bounds as exponents of e
        return [str(math.exp(distribution[k])) for k in ("min_value", "max_value")]
    if kind in ("normal", "qnormal"):
        return [str(distribution["mu"])]
    if kind in ("lognormal", "qlognormal"):
        return [str(math.exp(distribution["mu"]))]
    raise UserError(f"search_space.{name}: type {kind} is not known to Azure ML.")


def scripts(job: Mapping) -> list[str]:
    """Return the job's command as it will be run, with values in place of its references.

    Inputs and outputs become the folders that Azure mounts. In a sweep, there is one script for
    each value that should be checked.

    Raises:
        UserError: if a reference has no target, or if the command does not use an input.
    """
    owner = _owner(job)
    command = owner["command"]
    known = {
        f"inputs.{k}": [f"/inputs/{k}" if isinstance(v, dict) else str(v)] for k, v in _part(job, "inputs").items()
    }
    known |= {f"outputs.{k}": [f"/outputs/{k}"] for k in _part(job, "outputs")}
    known |= {f"search_space.{k}": ends(k, v) for k, v in _part(job, "search_space").items()}
    settings = " ".join(map(str, _part(owner, "environment_variables").values()))
    used = set(_REFERENCE.findall(f"{command} {settings}"))
    for name in sorted(used - known.keys()):
        raise UserError(f"${{{{{name}}}}}: the command names it and the job does not; {nearest(name, known)}")
    for name in sorted(known.keys() - used):
        raise UserError(
            f"{name}: the job has it and its command does not use it. Add ${{{{{name}}}}}, or leave it out."
        )
    bare = command.replace("$[[", "").replace("]]", "")  # Azure's marks around parts that may be left out

    def filled(values: Mapping[str, str]) -> str:
        return _REFERENCE.sub(lambda m: values[m[1]], bare)

    first = {name: values[0] for name, values in known.items()}
    return [filled(first), *(filled(first | {n: v}) for n, values in known.items() for v in values[1:])]


def _owner(job: Mapping) -> Mapping:
    """Return the part of a job that has the command: the job itself, or the trial of a sweep."""
    return job["trial"] if job["type"] == "sweep" else job


def _part(job: Mapping, name: str) -> Mapping:
    part = job.get(name) or {}
    if not isinstance(part, dict):
        raise UserError(f"{name}: expected names with their values.")
    return part


def _is_local(path) -> bool:
    return isinstance(path, str) and not re.match(r"azureml:|[\w+.-]+://|\$\{\{", path)


def check_files(job: Mapping, folder: Path) -> None:
    """Raise UserError if the job names a local file or folder that does not exist.

    folder: the folder of the job file.
    """
    owner = _owner(job)
    named = [("code", owner.get("code"), folder)]
    named += [
        (f"inputs.{k}.path", v.get("path"), folder) for k, v in _part(job, "inputs").items() if isinstance(v, dict)
    ]
    environment, base = owner.get("environment"), folder
    if isinstance(environment, str) and environment.startswith("file:"):
        file = folder / environment.removeprefix("file:")
        environment, base = load(file), file.parent
    if isinstance(environment, dict):
        build = environment.get("build") or {}
        named += [
            ("environment.conda_file", environment.get("conda_file"), base),
            ("build.path", build.get("path"), base),
        ]
        if build.get("path"):
            named.append(("build.dockerfile_path", build.get("dockerfile_path", "Dockerfile"), base / build["path"]))
    for name, path, where in named:
        if _is_local(path) and not (where / path).exists():
            raise UserError(f"{name} {path}: not found in {where.resolve()}.")


def read(path: Path) -> dict:
    """Read the job in a file, and check and complete its type."""
    job = load(path)
    kind = job.setdefault("type", "command")
    if kind not in TYPES:
        raise UserError(f"{path}: type {kind}: not a job of this project; {nearest(kind, TYPES)}")
    return job


def check(path: Path) -> None:
    """Raise UserError for errors in a job that would only show on a rented machine.

    The fields of the file are checked by azure-ai-ml, see `check_with_azure`.
    """
    job = read(path)
    owner = _owner(job)
    try:
        check_files(job, path.parent)
        instances = (job.get("resources") or owner.get("resources") or {}).get("instance_count", 1)
        distribution = owner.get("distribution") or {}
        for name, count in (
            ("resources.instance_count", instances),
            ("distribution.worker_count", distribution.get("worker_count", 1)),
        ):
            if type(count) is not int or count < 1:
                raise UserError(f"{name} {count!r}: expected a whole number from 1 on.")
        if instances > 1 and distribution.get("type") != "tensorflow":
            raise UserError(
                f"{instances} nodes and distribution {distribution.get('type', 'none')}: without TF_CONFIG they would not find each other. "
                f"Give distribution: {{type: tensorflow, worker_count: {instances}}}."
            )
        workers = distribution.get("worker_count", instances)
        if workers != instances:
            raise UserError(
                f"distribution.worker_count {workers} on {instances} nodes: expected one worker a node. "
                f"Give resources.instance_count: {workers}."
            )
        for script in scripts(job):
            found = commands.verbs(script, path.parent / owner["code"] if _is_local(owner.get("code")) else Path())
            commands.check_workers(found, workers)
            for verb in found:
                check_kept(verb, job)
                check_objective(verb, job)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def check_kept(verb: commands.Verb, job: Mapping) -> None:
    """Raise UserError if the results of a run would be lost when its node is taken away.

    A run has to be in an output of the job, where the next node finds it.
    """
    if verb.name != "train" or not verb.options:  # such as train --help
        return
    place = verb.options["own_folder"]
    inside = Path(os.path.normpath(place)) if place else Path()
    output = next((o or {} for k, o in _part(job, "outputs").items() if inside.is_relative_to(f"/outputs/{k}")), None)
    if output is None:
        raise UserError(
            f"train writes into {place or verb.options['runs'] or 'runs'}, which is gone with the node. Give --run ${{{{outputs.NAME}}}}."
        )
    if job["type"] == "sweep" and "path" in output and "${{name}}" not in output["path"]:
        raise UserError(
            f"outputs path {output['path']}: all trials would train in one folder. Leave it out, and each has its own."
        )
    if output.get("mode", "rw_mount") != "rw_mount":
        raise UserError(f"outputs mode {output['mode']}: a node that is taken away uploads nothing. Give rw_mount.")


def check_objective(verb: commands.Verb, job: Mapping) -> None:
    """Raise UserError if a sweep's objective is not a metric that its trials log to MLflow."""
    if verb.name != "train" or job["type"] != "sweep":
        return
    metric = _part(job, "objective").get("primary_metric")
    for plan in verb.plans:
        config = plan.config
        if "mlflow" not in (config.running.log or ()):
            raise UserError(f"objective.primary_metric {metric}: no trial logs it. Give train --log mlflow.")
        names = [
            metrics.full_name(name, Path(config.measuring.features).name) for name in config.measuring.metrics or ()
        ]
        judge = metrics.choose_judge(names, plan.task.from_images and plan.loss.adversarial)
        logged = [tracking.metric_name(n) for n in names]
        logged += [f"best_{tracking.metric_name(judge)}"] if judge else []
        if metric not in logged:
            raise UserError(f"objective.primary_metric {metric}: no trial logs it; {nearest(str(metric), logged)}")
        name = names[logged.index(metric)] if metric in logged[: len(names)] else judge
        better = {"lower": "minimize", "higher": "maximize"}.get(metrics.METRICS[metrics.strip_features(name)].better)
        if better and (goal := _part(job, "objective").get("goal")) != better:
            raise UserError(f"objective.goal {goal}: {metric} gets better the other way. Give {better}.")


def check_with_azure(path: Path) -> object:
    """Return the job as azure-ai-ml reads it.

    Raises UserError if azure-ai-ml rejects the job or is not installed.
    """
    try:
        from azure.ai.ml import load_job
    except ModuleNotFoundError:
        raise UserError('azure-ai-ml is not installed. pip install -e ".[azure]" -c constraints.txt') from None
    from azure.ai.ml.exceptions import ValidationException
    from marshmallow.exceptions import ValidationError

    # Silence long messages about experimental classes and missing credentials. This follows the import
    # because importing azure.ai.ml sets the level of its logger.
    for name in ("azure.ai.ml", "azure.identity"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        return load_job(path)
    except (ValidationException, ValidationError) as error:
        raise UserError(f"{path}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """Return the reason for an error of azure-ai-ml, in one line.

    It is the message of the innermost schema, without quotes from those around it.
    """
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).replace("\\n", "\n").replace('\\"', '"')
    text = text.rpartition("failed:")[2].partition("If you are trying")[0]
    return " ".join(re.sub(r"[{}\[\]\"]", " ", text).split())


def client():
    """Return a client for a workspace of Azure ML.

    The workspace is named by environment variables, or by a config.json from Azure's portal. Raises
    UserError if there is none, or if there are no credentials.
    """
    from azure.ai.ml import MLClient
    from azure.ai.ml.exceptions import ValidationException
    from azure.core.exceptions import ClientAuthenticationError
    from azure.identity import CredentialUnavailableError, DefaultAzureCredential

    credential = DefaultAzureCredential()
    given = [os.environ.get(name) for name in WORKSPACE]
    if any(given) and not all(given):
        missing = [name for name, value in zip(WORKSPACE, given) if not value]
        raise UserError(
            f"{' and '.join(missing)}: not set. Give all of {', '.join(WORKSPACE)}, or none and a config.json."
        )
    try:
        found = MLClient(credential, *given) if all(given) else MLClient.from_config(credential)
    except ValidationException:
        raise UserError(
            f"no workspace: give {', '.join(WORKSPACE)}, or a config.json in this folder (Azure's portal: the workspace, "
            "Download config.json)."
        ) from None
    try:
        credential.get_token("https://management.azure.com/.default")
    except (ClientAuthenticationError, CredentialUnavailableError):
        raise UserError(
            "no credentials for Azure. Type: az login, or give AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_CLIENT_SECRET."
        ) from None
    return found


def submit(job) -> str:
    """Submit a job and return the URL of its page."""
    from azure.core.exceptions import AzureError

    workspace = client()
    try:
        return workspace.jobs.create_or_update(job).studio_url
    except AzureError as error:
        raise UserError(f"Azure refused the job: {_reason(error)}") from None


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("file", metavar="JOB.yml", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="check the file without submitting the job")
def command(file, dry_run):
    """Check a job for Azure Machine Learning, and submit it.

    With --dry-run, the job is only checked, which also works offline.
    """
    kind = read(file)["type"]
    job = check_with_azure(file)
    check(file)
    if dry_run:
        click.echo(f"{file}: a {kind} job that Azure ML and pggan-tf take")
        return
    click.echo(submit(job))
