"""Send a run's losses and metrics to an MLflow tracking server.

An MLflow run is the server's record of a run: parameters (here, options), metrics (here, losses and
metrics) by step (here, images seen), and files.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import re
import sys
import threading
import time
from pathlib import Path
from typing import Any

from pggan_tf import report
from pggan_tf.config import as_text, parsing
from pggan_tf.errors import Stopped, UserError
from pggan_tf.runs import records
from pggan_tf.runs.folder import BEST, BEST_GENERATOR, CONFIG, ENVIRONMENT, GENERATOR, LOG, STATS, write_json
from pggan_tf.training.callbacks import Callback

FILE = "mlflow.json"  # in the run's folder; contains the id of its MLflow run
EXPERIMENT = "pggan-tf"
BATCH = {"metrics": 1000, "params": 100}  # MLflow's limits for one request
PAUSE_SECONDS = 60.0  # time between two requests to a server that did not answer
# Without these, a server that does not answer delays the end of a run by minutes. Environment
# variables that are set already take precedence.
ENVIRONMENT_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def check(names: tuple[str, ...] | None) -> None:
    """Raise UserError if --log mlflow is given and MLflow is not installed.

    names: value of --log, or None.
    """
    if names and "mlflow" in names and importlib.util.find_spec("mlflow") is None:
        raise UserError('--log mlflow: MLflow is not installed. pip install "pggan-tf[mlflow]", or leave it out.')


def metric_name(name: str) -> str:
    """Return a metric's name without characters that MLflow refuses: 'fid[a]' -> 'fid.a'.

    Letters, digits, spaces and _ - . : / are allowed.
    """
    return re.sub(r"[^\w\-.:/ ]", "_", re.sub(r"\[(.*)\]", r".\1", name))


def collect_figures(line: dict) -> dict[str, float]:
    """Return {name for MLflow: number} of all numbers in a line of stats.jsonl.

    Lines with metrics or the coach's checks repeat time and resolution of a line with losses, which
    MLflow has already.

    line: the JSON object in the line.
    """
    named = line.get("metrics", {}) | {
        f"{part}/{k}": v for part in ("details", "check") for k, v in line.get(part, {}).items()
    }
    if not named:
        named = {k: v for k, v in line.items() if k != "images"}
    return {metric_name(k): float(v) for k, v in named.items() if isinstance(v, int | float)}


def _read_without_places(path: Path) -> str:
    """Return the text of a file of a run, with only the last part of each path and URL in it.

    path: a .json file, or a file of lines.
    """
    text = path.read_text(encoding="utf-8", errors="replace")
    if path.suffix == ".json":
        return json.dumps(records.remove_places(json.loads(text)), indent=1)
    return records.remove_places(text)


class MLflowLogger(Callback):
    """Logs parameters, losses and metrics of a run to MLflow, and its files at the end.

    The values are those of stats.jsonl and the best metric so far. A separate thread sends them, so
    that training neither waits for the server nor ends if the server fails. The thread reads them
    from stats.jsonl: lines that the server has not received are sent when it answers again, also if
    that is only after the run is resumed.

    Of paths and URLs only the last parts are sent, because others may read the server: folders name
    people, and URLs may hold passwords.

    The server is MLFLOW_TRACKING_URI, by default a file mlflow.db next to the run's folder.
    """

    def begin(self, run):
        self.run, self.folder = run, run.folder
        self._client: Any = None
        self._status = None
        self._position = 0  # number of bytes of stats.jsonl that were sent
        self._refused: set[str] = set()
        # Metric -> its last step on the server at the first request.
        self._steps: dict[str, int] = {}
        self._new, self._ending = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    def tick(self, run, stats):
        self._new.set()

    def measure(self, run):
        self._new.set()

    def end(self, run):
        raised = sys.exception()
        by_signal = isinstance(raised, KeyboardInterrupt) or isinstance(raised, Stopped) and raised.code > 128
        self._status = "FINISHED" if run.done else "KILLED" if by_signal else "FAILED"
        self._ending.set()
        self._new.set()
        self._thread.join()

    def _work(self):
        """Send new values until the run ends; this is the thread's function."""
        away = False
        while True:
            ending = self._ending.is_set()
            try:
                if self._client is None:
                    self._connect()
                self._send()
                if ending:
                    self._finish()
                if away:
                    self.run.log("MLflow answers again, nothing is missing there")
                away = False
            except Exception as error:  # no error of the server may end the run
                if ending or not away:
                    reason = next(iter(str(error).splitlines()), "")
                    self.run.log(
                        f"MLflow does not take this run's figures ({type(error).__name__}: {reason}). "
                        f"They are in {STATS}; what is missing is sent "
                        + ("when the run is resumed." if ending else "when it answers again.")
                    )
                away = True
            if ending:
                return
            (self._ending if away else self._new).wait(PAUSE_SECONDS)
            self._new.clear()

    def _connect(self):
        """Connect to the server, find or create the MLflow run, and log the parameters."""
        for name, value in ENVIRONMENT_DEFAULTS.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient
        from mlflow.exceptions import RestException

        for name in ("mlflow", "alembic"):  # they log every table that they create
            logging.getLogger(name).setLevel(logging.WARNING)
        parent = self.folder.resolve().parent
        address = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{parent / 'mlflow.db'}"
        # MLflow would put a database's files into the current folder.
        artifacts = (parent / "mlartifacts").as_uri() if address.startswith("sqlite:") else None
        client = MlflowClient(address)
        # A platform that runs jobs (Azure ML) has created an MLflow run for this one, and sets its
        # final status itself.
        of_platform = os.environ.get("MLFLOW_RUN_ID")
        number = of_platform or self._find_earlier_run(client)
        self._owned = number is None or number != of_platform
        if number is None:
            number = self._create(client, artifacts)
        elif self._owned:
            client.update_run(number, status="RUNNING")
        write_json(self.folder / FILE, {"run_id": number})
        there = client.get_run(number).data.params
        values = {"version": str(parsing.VERSION)} | {k: as_text(v) for k, v in self.run.config.values().items()}
        values = records.remove_places(values)
        self._number, self._client = number, client
        try:
            self._log(params=[(k, v) for k, v in values.items() if k not in there])
        except RestException as error:
            # A platform may have lower limits for params; metrics are logged in any case.
            self.run.log(f"MLflow does not take the config ({error.error_code}); it is in {CONFIG}")

    def _find_earlier_run(self, client) -> str | None:
        """Return the id of an earlier session's MLflow run, or None if the server has none."""
        from mlflow.exceptions import MlflowException

        if not (self.folder / FILE).is_file():
            return None
        try:
            return client.get_run(json.loads((self.folder / FILE).read_text())["run_id"]).info.run_id
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None

    def _create(self, client, artifacts: str | None) -> str:
        """Create an MLflow run and return its id.

        artifacts: URI of a folder for files if the experiment is new; None: the server's default.
        """
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        experiment = client.get_experiment_by_name(name)
        identity = experiment.experiment_id if experiment else client.create_experiment(name, artifacts)
        environment = json.loads((self.folder / ENVIRONMENT).read_text())
        tags = {
            "mlflow.source.name": "pggan-tf",
            "mlflow.source.git.commit": environment["commit"],
            "data": environment["dataset"]["source"],
            "data_checksum": environment["dataset"]["checksum"],
            "data_images": environment["dataset"]["images"],
        }
        tags = {k: str(records.remove_places(v)) for k, v in tags.items() if v is not None}
        return client.create_run(identity, tags=tags, run_name=self.folder.name).info.run_id

    def _log(self, metrics=(), params=()):
        """Log metrics [(name, value, step)] and parameters [(name, value)] in batches."""
        from mlflow.entities import Metric, Param

        now = int(time.time() * 1000)
        for start in range(0, len(metrics), BATCH["metrics"]):
            part = [Metric(name, value, now, step) for name, value, step in metrics[start : start + BATCH["metrics"]]]
            self._log_metrics(part)
        for start in range(0, len(params), BATCH["params"]):
            part = [Param(*param) for param in params[start : start + BATCH["params"]]]
            self._client.log_batch(self._number, params=part)

    def _log_metrics(self, part: list):
        """Log a batch of metrics. Find those that the server refuses by bisection and skip them.

        part: a list of mlflow.entities.Metric.
        """
        from mlflow.exceptions import MlflowException

        try:
            self._client.log_batch(self._number, metrics=part)
        except MlflowException as error:
            if error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            if len(part) > 1:
                for half in (part[: len(part) // 2], part[len(part) // 2 :]):
                    self._log_metrics(half)
            elif part[0].key not in self._refused:
                self._refused.add(part[0].key)
                self.run.log(f"MLflow refuses {part[0].key} ({str(error).splitlines()[0]}); it is in {STATS}")

    def _last_step(self, name: str) -> int:
        """Return the last step (images seen) of a metric on the server, or -1 if it has none.

        The server is only asked at the first call for each metric. A resumed run repeats steps
        whose values the killed run may already have sent; they are not sent again.

        name: the metric's name for MLflow.
        """
        if name not in self._steps:
            history = self._client.get_metric_history(self._number, name)
            self._steps[name] = max((metric.step for metric in history), default=-1)
        return self._steps[name]

    def _send(self):
        """Send the complete lines of stats.jsonl that were not sent yet, and a new best metric."""
        with (self.folder / STATS).open("rb") as file:
            file.seek(self._position)
            body, newline, _ = file.read().rpartition(b"\n")
            lines = (body + newline).splitlines(keepends=True)
        size, batch = 0, []
        for raw in lines:
            line = json.loads(raw)
            found = collect_figures(line)
            if line["images"] > self._last_step(next(iter(metric_name(n) for n in line.get("metrics", ("loss_d",))))):
                if len(batch) + len(found) > BATCH["metrics"]:
                    self._log(batch)
                    self._position, size, batch = self._position + size, 0, []
                batch += [(name, value, line["images"]) for name, value in found.items()]
            size += len(raw)
        self._log(batch)
        self._position += size
        if records.read_best(self.folder) is not None:
            best = json.loads((self.folder / BEST).read_text())
            name = f"best_{metric_name(best['metric'])}"
            if best["images"] > self._last_step(name):
                self._log([(name, best["value"], best["images"])])
                self._steps[name] = best["images"]

    def _finish(self):
        """Log the files of a finished run and set the status of the MLflow run."""
        if self._status == "FINISHED":
            for path in filter(os.path.isfile, (self.folder / name for name in (CONFIG, ENVIRONMENT, LOG))):
                self._client.log_text(self._number, _read_without_places(path), path.name)
            names = (STATS, report.NAME, GENERATOR, BEST_GENERATOR, "reals.png")
            for path in filter(os.path.isfile, (self.folder / name for name in names)):
                self._client.log_artifact(self._number, str(path))
            for path in sorted(self.folder.glob("fakes-*.png")):
                self._client.log_artifact(self._number, str(path), "grids")
        if self._owned:
            self._client.set_terminated(self._number, self._status)
