"""--log mlflow against a store on disk."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from pggan_tf.config import as_text, load, resolve
from pggan_tf.training import tracking
from tests.conftest import TINY, run_folder, start, train, train_alone
from tests.test_front_door import SCHEDULE, in_mid_fade, refused, wait_for

NEEDS_MLFLOW = pytest.mark.skipif(
    tracking.importlib.util.find_spec("mlflow") is None,
    reason='MLflow is not installed: pip install "pggan-tf[mlflow]"',
)
METRICS = ["--metrics", "swd", "--metrics-images", "64", "--metrics-every", "800"]


def environment(**changes):
    """That of a process without a tracking server of its own."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
    return kept | changes


def logged(address: str) -> dict:
    """What a store holds, read by a process of its own: MLflow keeps connections open."""
    script = (
        "import json, sys; from mlflow import MlflowClient; client = MlflowClient(sys.argv[1])\n"
        "runs = client.search_runs([e.experiment_id for e in client.search_experiments()])\n"
        "print(json.dumps([{'id': r.info.run_id, 'name': r.info.run_name, 'status': r.info.status, 'params': r.data.params,\n"
        "  'tags': r.data.tags, 'experiment': client.get_experiment(r.info.experiment_id).name,\n"
        "  'files': sorted(f.path for p in (None, 'grids') for f in client.list_artifacts(r.info.run_id, p)),\n"
        "  'metrics': {k: [[m.step, m.value] for m in client.get_metric_history(r.info.run_id, k)] for k in r.data.metrics}}\n"
        "  for r in runs]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, address], capture_output=True, text=True, check=True, env=environment()
    )
    return json.loads(done.stdout)


def assert_holds_the_figures(found: dict, run: Path):
    """Every number of stats.jsonl once, at its step, and no other."""
    expected = {}
    for line in map(json.loads, (run / "stats.jsonl").read_text().splitlines()):
        for name, value in tracking.collect_figures(line).items():
            expected.setdefault(name, []).append([line["images"], value])
    best = {name: found["metrics"].pop(name) for name in list(found["metrics"]) if name.startswith("best_")}
    # What was sent before a kill is the same but for the time that it took.
    timed = {"images_per_second", "seconds"}
    for name in expected.keys() - timed:
        assert found["metrics"][name] == expected[name], name
    for name in timed:
        assert [step for step, _ in found["metrics"][name]] == [step for step, _ in expected[name]], name
    assert found["metrics"].keys() == expected.keys()
    return best


@NEEDS_MLFLOW
@pytest.mark.slow
def test_a_killed_run_goes_on_in_the_same_mlflow_run(tmp_path):
    run = tmp_path / "runs" / "faces"
    store = f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}"
    command = [*TINY, *SCHEDULE, "--run", run, "--log", "mlflow", "--checkpoint-minutes", "0.002", *METRICS]
    process = start("train.py", *command, env=environment())
    wait_for(process, lambda: in_mid_fade(run) and (run / tracking.FILE).is_file())
    process.send_signal(signal.SIGKILL)
    process.communicate()
    number = json.loads((run / tracking.FILE).read_text())["run_id"]
    code, out, err = train_alone(*command, env=environment())
    assert code == 0, err
    assert f"resuming {run}" in out and run_folder(out) == run
    assert "MLflow" not in out
    [found] = logged(store)
    assert (found["id"], found["name"], found["status"]) == (number, "faces", "FINISHED")
    values = load(run / "config.json").config.values()
    assert found["params"] == {"version": "3"} | {k: as_text(v) for k, v in values.items()}
    assert found["params"]["batch"] == "4=8,8=8" and found["params"]["log"] == "mlflow"
    assert found["tags"]["data_checksum"] and found["experiment"] == tracking.EXPERIMENT
    best = assert_holds_the_figures(found, run)
    kept = json.loads((run / "best.json").read_text())
    assert best["best_swd"][-1] == [kept["images"], kept["value"]]
    grids = {f"grids/{p.name}" for p in run.glob("fakes-*.png")}
    assert {*grids, "config.json", "stats.jsonl", "generator.keras", "best.keras", "reals.png"} <= set(found["files"])
    assert (tmp_path / "runs" / "mlartifacts").is_dir(), "not in the folder that the command was typed in"


@NEEDS_MLFLOW
@pytest.mark.slow
def test_a_server_that_is_away_does_not_end_a_run(tmp_path):
    run = tmp_path / "run"
    command = [*TINY, "--target-res", "4", "--total-images", "160", "--batch", "8", "--run", run, "--log", "mlflow"]
    away = environment(MLFLOW_TRACKING_URI="http://127.0.0.1:9", MLFLOW_HTTP_REQUEST_MAX_RETRIES="0")
    code, out, err = train_alone(*command, env=away)
    assert code == 0, err
    assert "MLflow does not take this run's figures" in out and "Traceback" not in out + err
    assert (run / "generator.keras").is_file() and not (run / tracking.FILE).is_file()
    # The same command, once there is a server: it gets all of it.
    store = f"sqlite:///{tmp_path / 'later.db'}"
    code, out, err = train_alone(*command, env=environment(MLFLOW_TRACKING_URI=store))
    assert code == 0, err
    assert "does not take" not in out
    [found] = logged(store)
    assert found["status"] == "FINISHED" and found["metrics"]["loss_d"]
    assert_holds_the_figures(found, run)


@pytest.fixture
def store(tmp_path, monkeypatch):
    """The address of an empty store, which the environment names."""
    for name in [n for n in os.environ if n.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)
    for name, value in tracking.ENVIRONMENT_DEFAULTS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'store.db'}")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    return os.environ["MLFLOW_TRACKING_URI"]


@NEEDS_MLFLOW
def test_empty_variables_are_none(tmp_path, store, monkeypatch):
    """Templates of jobs leave them empty."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    lines = []
    observer, run = tracking.MLflowLogger(), observed(tmp_path / "a", lines)
    observer.begin(run)
    observer.end(run)
    assert not list(elsewhere.iterdir()) and not lines
    [found] = logged(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert found["status"] == "FINISHED"


def observed(folder, lines):
    """What an observer sees of a run in a folder without figures yet. lines: its log."""
    folder.mkdir()
    dataset = {"source": "photos", "checksum": "c", "images": 3}
    (folder / "environment.json").write_text(json.dumps({"commit": None, "dataset": dataset}))
    (folder / "stats.jsonl").touch()
    config = resolve({"seed": 7}).config
    return SimpleNamespace(folder=folder, config=config, log=lines.append, done=True)


@NEEDS_MLFLOW
def test_a_platform_s_second_job_has_the_whole_history(tmp_path, store, monkeypatch):
    """It goes on with the run that the first has begun; the first one's page is left as it ended."""
    from mlflow import MlflowClient

    client, lines = MlflowClient(store), []
    experiment = client.create_experiment("jobs", (tmp_path / "artifacts").as_uri())
    run = observed(tmp_path / "run", lines)
    jobs = [client.create_run(experiment).info.run_id for _ in range(2)]
    for images, job in zip((10, 20), jobs):
        monkeypatch.setenv("MLFLOW_RUN_ID", job)
        observer = tracking.MLflowLogger()
        observer.begin(run)
        with (run.folder / "stats.jsonl").open("a") as file:
            file.write(json.dumps({"images": images, "loss_d": images / 2}) + "\n")
        observer.end(run)
        client.set_terminated(job, "FINISHED")
    assert not lines
    first, second = (next(r for r in logged(store) if r["id"] == job) for job in jobs)
    assert first["metrics"]["loss_d"] == [[10, 5.0]] and first["status"] == "FINISHED"
    assert second["metrics"]["loss_d"] == [[10, 5.0], [20, 10.0]]


@NEEDS_MLFLOW
def test_a_server_that_comes_back_gets_what_it_missed(tmp_path, store, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.setattr(tracking, "PAUSE_SECONDS", 0.05)
    lines = []
    run = observed(tmp_path / "run", lines)
    answers, real = [True], MlflowClient.log_batch

    def log_batch(self, *args, **kwargs):
        if not answers[0]:
            raise ConnectionError("the server is away")
        return real(self, *args, **kwargs)

    monkeypatch.setattr(MlflowClient, "log_batch", log_batch)

    def until(condition):
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, lines
            time.sleep(0.01)

    def tick(images):
        with (run.folder / "stats.jsonl").open("a") as file:
            file.write(json.dumps({"images": images, "loss_d": images / 2, "skipped_total": float("nan")}) + "\n")
            file.write(json.dumps({"images": images, "metrics": {"fid[random]": 4.5}, "details": {"swd 8px": 1.0}}))
        observer.tick(run, {})
        time.sleep(0.02)  # half a line is not taken for one
        with (run.folder / "stats.jsonl").open("a") as file:
            file.write("\n")
        observer.measure(run)

    observer = tracking.MLflowLogger()
    observer.begin(run)
    tick(10)
    until(lambda: observer._position == (run.folder / "stats.jsonl").stat().st_size)
    answers[0] = False
    tick(20)
    until(lambda: lines)
    tick(30)
    assert "ConnectionError: the server is away" in lines[0] and "when it answers again" in lines[0]
    answers[0] = True
    until(lambda: len(lines) > 1)
    assert "answers again" in lines[1]
    observer.end(run)
    assert len(lines) == 2
    [found] = logged(store)
    assert found["metrics"]["loss_d"] == [[10, 5.0], [20, 10.0], [30, 15.0]]
    assert found["metrics"]["fid.random"] == [[10, 4.5], [20, 4.5], [30, 4.5]]
    assert found["metrics"]["details/swd 8px"] == [[10, 1.0], [20, 1.0], [30, 1.0]]
    assert found["params"]["seed"] == "7" and found["experiment"] == "mine"


@NEEDS_MLFLOW
def test_nothing_that_is_sent_has_places_or_passwords(tmp_path, store):
    """Others may read a tracking server: of a path and a URL it gets only the last part."""
    place, weights = "http://user:SECRETPW@127.0.0.1:9009/photos.zip?key=SECRETKEY", "/home/annabel/runs/faces"
    run = observed(tmp_path / "run", [])
    run.config = resolve({"seed": 7, "data": (place, "/home/annabel/more"), "init_from": weights}).config
    dataset = {
        "source": f"{place}, /home/annabel/more",
        "checksum": "c",
        "images": 3,
        "folder": "/home/annabel/cache/x",
    }
    asked = {"data": place}
    (run.folder / "environment.json").write_text(json.dumps({"commit": None, "asked": asked, "dataset": dataset}))
    (run.folder / "config.json").write_text(json.dumps({"data": place, "init_from": weights, "seed": 7}))
    (run.folder / "log.txt").write_text(f"begun\nfetching {place}\nresuming {weights}\nended\n")
    observer = tracking.MLflowLogger()
    observer.begin(run)
    observer.end(run)
    [found] = logged(store)
    kept = {path.name: path.read_text() for path in (tmp_path / "mlartifacts").rglob("*") if path.is_file()}
    sent = json.dumps(found) + "".join(kept.values())
    assert not [word for word in ("SECRET", "user:", "127.0.0.1", "annabel") if word in sent], sent
    assert found["params"]["data"] == "photos.zip, more" and found["params"]["init_from"] == "faces"
    assert found["params"]["seed"] == "7" and found["params"]["resolutions"] == "4,8,16,32,64"
    assert found["tags"]["data"] == "photos.zip, more"
    assert json.loads(kept["config.json"]) == {"data": "photos.zip", "init_from": "faces", "seed": 7}
    assert json.loads(kept["environment.json"])["dataset"]["folder"] == "x"
    assert kept["log.txt"] == "begun\nfetching photos.zip\nresuming faces\nended\n"


@NEEDS_MLFLOW
def test_a_figure_that_is_refused_costs_only_itself():
    from mlflow.entities import Metric
    from mlflow.exceptions import INVALID_PARAMETER_VALUE, MlflowException

    taken, lines = [], []

    def log_batch(number, metrics):
        if any(m.key == "bad" for m in metrics):
            raise MlflowException("no such name", INVALID_PARAMETER_VALUE)
        taken.extend((m.key, m.step) for m in metrics)

    observer = tracking.MLflowLogger()
    observer.run, observer._refused = SimpleNamespace(log=lines.append), set()
    observer._client, observer._number = SimpleNamespace(log_batch=log_batch), "1"
    names = ["a", "bad", "b", "c", "bad", "d", "e"]
    observer._log_metrics([Metric(name, 1.0, 0, step) for step, name in enumerate(names)])
    assert taken == [(name, step) for step, name in enumerate(names) if name != "bad"]
    assert len(lines) == 1 and "MLflow refuses bad (no such name)" in lines[0]


def test_names_for_mlflow():
    assert tracking.metric_name("fid[random]") == "fid.random"
    assert tracking.metric_name("fid[my net.keras]") == "fid.my net.keras"
    assert tracking.metric_name("a&b") == "a_b"
    assert as_text({4: 64, 8: 32}) == "4=64,8=32" and as_text((0.0, 0.99)) == "0.0,0.99"


def test_log_is_refused_without_mlflow_before_any_work(tmp_path):
    absent = (
        "import sys; sys.modules['mlflow'] = None\nfrom pggan_tf.commands import cli; sys.exit(cli.main(sys.argv[1:]))"
    )
    script = absent.replace("from pggan_tf.commands import cli;", "from pggan_tf.training import tracking; from pggan_tf.commands import cli;"
        "tracking.importlib.util.find_spec = lambda name: None;")  # fmt: skip
    process = start("-c", script, "train", *TINY, "--log", "mlflow", "--runs", tmp_path / "runs")
    out, err = process.communicate(timeout=60)
    refused((process.returncode, out, err), "MLflow is not installed", r"pip install \"pggan-tf\[mlflow\]\"")
    assert not (tmp_path / "runs").exists()
    refused(train("--log", "wandb"), "--log wandb: not known", "mlflow")
