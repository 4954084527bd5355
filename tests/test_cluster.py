"""Several machines, as processes on the loopback."""

import functools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pggan_tf.errors import UserError
from pggan_tf.runs import checkpoint
from pggan_tf.training import cluster as clusters
from pggan_tf.training import session
from tests.conftest import ROOT, TINY, change_config, run_folder, start, train

SCHEDULE = [
    *("--target-res", "8", "--fade-images", "160", "--stable-images", "4=160,8=0", "--batch", "8"),
    *("--snapshot-images", "80", "--precision", "float32"),
]
# At a constant rate, no weight of this run comes so near to a tie that rounding decides it.
FIRST_STAGE = [*SCHEDULE, "--decay-share", "0", "--target-res", "4", "--fade-images", "0", "--stable-images", "160"]
LONG = [*SCHEDULE, "--fade-images", "100000", "--stable-images", "160", "--snapshot-images", "800"]


def addresses(count):
    """Of free ports on the loopback."""
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return [f"127.0.0.1:{port}" for port in ports]


def start_all(*arguments, count=2, timeout="1"):
    workers = ",".join(addresses(count))
    options = ["--workers", workers, "--worker-timeout", timeout, "--worker-index"]
    return [start("train.py", *arguments, *options, i) for i in range(count)]


def ends(processes, timeout=180):
    """(exit code, stdout, stderr) of each; none outlives the test."""
    try:
        return [(*reversed(p.communicate(timeout=timeout)), p.returncode)[::-1] for p in processes]
    finally:
        for process in processes:
            process.kill()


def final(run):
    return checkpoint.read_newest(run)[0]


def losses(run):
    lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    return [(line["images"], line["loss_d"], line["loss_g"], line["penalty"]) for line in lines if "loss_d" in line]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Runs of one process by their schedules; besides, the portraits are drawn."""

    @functools.cache
    def trained(*schedule):
        code, out, err = train(*TINY, *schedule, "--runs", tmp_path_factory.mktemp("alone"))
        assert code == 0, err
        return run_folder(out)

    trained(*FIRST_STAGE)
    return trained


def wait_for_checkpoint(processes, parent):
    """Of the long fade. Without it, no process outlives the test."""
    deadline = time.monotonic() + 150
    try:
        while not any(int(p.stem.split("-")[1]) > 1000 for p in parent.glob("0*/checkpoints/checkpoint-*.npz")):
            assert all(p.poll() is None for p in processes), [p.communicate(timeout=60) for p in processes]
            assert time.monotonic() < deadline, "waited too long"
            time.sleep(0.02)
    except BaseException:
        for process in processes:
            process.kill()
        raise
    return next(parent.glob("0*"))


@pytest.mark.parametrize("schedule", [FIRST_STAGE, pytest.param(SCHEDULE, marks=pytest.mark.slow)], ids=["4px", "8px"])
def test_two_processes_train_like_one(alone, tmp_path, schedule):
    (code, out, err), other = ends(start_all(*TINY, *schedule, "--runs", tmp_path))
    assert code == 0 and other[0] == 0, err + other[2]
    run, alone = run_folder(out), alone(*schedule)
    ours, theirs = final(run), final(alone)
    assert ours.keys() == theirs.keys()
    # 60 steps at 4e-3 on weights of size 1.
    assert max(float(np.abs(ours[n].astype(np.float64) - theirs[n]).max()) for n in ours) < 2e-3
    np.testing.assert_allclose(losses(run), losses(alone), rtol=1e-3, atol=1e-4)
    # The chief alone observes, and everything is there.
    assert {p.name for p in run.iterdir()} == {p.name for p in alone.iterdir()}


SPLIT = """
import sys, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from pggan_tf.commands import cli
sys.exit(cli.main(["train", *sys.argv[1:]]))
"""


@pytest.mark.slow
def test_several_devices_of_one_machine(tmp_path):
    """From the probe to the last grid, with batch statistics that are shared in training and measured outside of it."""
    process = start(
        "-c",
        SPLIT,
        *TINY,
        *SCHEDULE,
        "--probe",
        "--strategy",
        "mirrored",
        "--generator-norm",
        "batch",
        "--runs",
        tmp_path,
    )
    ((code, out, err),) = ends([process])
    assert code == 0 and "2 devices" in out, err
    run = run_folder(out)
    assert (run / "generator.keras").is_file() and checkpoint.read_newest(run)[1]["devices"] == 2


@pytest.mark.slow
def test_a_signal_to_one_stops_all_and_all_go_on_exactly(alone, tmp_path):
    code = [(c, e) for c, _, e in ends(start_all(*TINY, *LONG, "--total-images", "4000", "--runs", tmp_path / "whole"))]
    assert [c for c, _ in code] == [0, 0], code
    whole = next((tmp_path / "whole").glob("0*"))
    long = [*TINY, *LONG, "--total-images", "4000", "--checkpoint-minutes", "0.002", "--runs", tmp_path / "cut"]
    processes = start_all(*long)
    run = wait_for_checkpoint(processes, tmp_path / "cut")
    processes[1].send_signal(signal.SIGTERM)
    for code, _, err in ends(processes):
        assert code == 128 + signal.SIGTERM and f"--resume {run}" in err, err
    assert [code for code, _, _ in ends(start_all("--resume", run))] == [0, 0]
    ours, theirs = final(run), final(whole)
    for name in theirs:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("victim, goes_on", [(0, True), (1, False)])
def test_a_worker_that_dies_ends_the_job(alone, tmp_path, victim, goes_on):
    schedule = [*FIRST_STAGE, "--stable-images", "100000", "--snapshot-images", "800"]
    processes = start_all(*TINY, *schedule, "--checkpoint-minutes", "0.002", "--runs", tmp_path)
    run = wait_for_checkpoint(processes, tmp_path)
    name = next(a for a in processes[0].args if a.startswith("127.0.0.1")).split(",")[victim]
    processes[victim].kill()
    code, _, err = ends(processes)[1 - victim]
    assert code == 1 and "Traceback" not in err, err
    assert re.search(rf"worker {victim} \({name}\) is gone.*checkpoint-\d+\.npz.*--resume {run}", err), err
    _, meta = checkpoint.read_newest(run)
    assert meta["images_seen"] > 1000 and meta["devices"] == 2
    if not goes_on:
        return
    # One process goes on for the two, and is told what is not the same.
    change_config(run, total_images=meta["images_seen"] + 400)
    code, out, err = train("--resume", run)
    assert code == 0, err
    assert "so far on 2 devices, now on 1" in out and (run / "generator.keras").is_file()


MISSED = """
import sys
from pggan_tf.errors import TryAgain
from pggan_tf.training import cluster as clusters
try:
    clusters.Cluster(tuple(sys.argv[1].split(",")), int(sys.argv[2]), 0.1).meet()
except TryAgain as error:
    print("error:", error, file=sys.stderr)
    sys.exit(75)
"""


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["alone", "train"])
@pytest.mark.parametrize("present", [(0, 1), (1, 0), (1,)])
def test_a_worker_that_never_comes_is_named(alone, present, whole):
    """By all that came, in whichever order; the chief, where it is missing itself, alone."""
    workers = addresses(3)
    options = ["--workers", ",".join(workers), "--worker-timeout", "0.1", "--worker-index"]
    processes = []
    for index in present:
        train_py = ("train.py", *TINY, *SCHEDULE, *options, index)
        processes.append(start(*train_py) if whole else start("-c", MISSED, ",".join(workers), index))
        time.sleep(2 if whole else 0.5)
    for code, _, err in ends(processes):
        assert code == 75 and err.count("error:") == 1 and "Traceback" not in err, "it may come the next time"
        named = [i for i in range(3) if f"worker {i} ({workers[i]})" in err]
        assert named == ([2] if 0 in present else [0]), err
        assert "nothing heard" in err and "--worker-timeout" in err


@pytest.mark.slow
def test_workers_that_were_started_otherwise_are_refused(alone, tmp_path):
    workers = ",".join(addresses(2))
    options = ["--workers", workers, "--worker-timeout", "1", "--worker-index"]
    common = [*TINY, *SCHEDULE, "--runs", tmp_path]
    processes = [start("train.py", *common, *options, 0), start("train.py", *common, "--seed", "1", *options, 1)]
    for code, _, err in ends(processes):
        assert code == 2 and re.search(r"worker 1 \(.*\): --seed is 1 there, and 0 with worker 0", err), err
    assert not list(tmp_path.iterdir())


def test_workers_of_unlike_versions_are_refused(monkeypatch):
    chief = clusters.Cluster(("a:1", "b:1"), 0)
    for theirs, words in (
        ({"pggan-tf": "0.1", "--conv": "standard"}, "pggan-tf is 0.1 there, and 0.2"),
        ({"pggan-tf": "0.2"}, "--conv is not known there, and standard"),
        ({"pggan-tf": "0.2", "--conv": "standard", "--new": 1}, "--new is 1 there, and not known"),
    ):
        monkeypatch.setattr(chief, "all_gather", lambda value, theirs=theirs: [value, theirs])
        with pytest.raises(UserError, match=words):
            chief.agree(**{"pggan-tf": "0.2", "--conv": "standard"})


HANGING = """
import sys, time
from pggan_tf.training import cluster as clusters
clusters.GRACE_SECONDS = 0.5
cluster = clusters.Cluster(tuple(sys.argv[1].split(",")), int(sys.argv[2]), 0.5)
cluster.meet()
print(cluster.all_gather(cluster.index), flush=True)
if cluster.index == 0:
    with cluster.watch():
        time.sleep(600)
"""


@pytest.mark.slow
def test_a_process_that_hangs_because_another_is_gone_ends():
    """As in a collective operation that never returns: no exception can reach the main thread."""
    workers = ",".join(addresses(3))
    command = [sys.executable, "-c", HANGING, workers]
    processes = [
        subprocess.Popen([*command, str(i)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for i in range(3)
    ]
    (code, out, err), *others = ends(processes, timeout=60)
    assert [c for c, _, _ in others] == [0, 0] and all("[0, 1, 2]" in o for _, o, _ in [(0, out, 0), *others])
    assert code == -signal.SIGKILL and re.search(r"worker [12] \(127.*\) is gone, and TensorFlow waits", err), err


MEETING = """
import sys
from pggan_tf.training import cluster as clusters
cluster = clusters.Cluster(tuple(sys.argv[1].split(",")), int(sys.argv[2]), 0.5)
cluster.meet()
print(cluster.all_gather(cluster.index), flush=True)
"""


def meeting(workers, index):
    command = [sys.executable, "-c", MEETING, ",".join(workers), str(index)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_workers_meet_over_ipv6():
    workers = [address.replace("127.0.0.1", "[::1]") for address in addresses(2)]
    assert all(code == 0 and "[0, 1]" in out for code, out, _ in ends([meeting(workers, i) for i in range(2)]))


def test_two_workers_of_one_index_are_told_apart():
    workers = addresses(3)
    chief, *twins = [meeting(workers, i) for i in (0, 1, 1)]
    deadline = time.monotonic() + 30
    while not (refused := [t for t in twins if t.poll() is not None]) and time.monotonic() < deadline:
        time.sleep(0.1)
    (refused,) = refused
    assert "--worker-index 1: another process is here with it" in refused.communicate()[1]
    (other,) = (t for t in twins if t is not refused)
    assert all(code == 0 and "[0, 1, 2]" in out for code, out, _ in ends([chief, other, meeting(workers, 2)]))


@pytest.mark.slow
def test_a_worker_that_cannot_open_its_port(alone, tmp_path):
    """It meets the chief, and is gone before TensorFlow's own channels stand: the chief would wait for it for good, with Python's
    lock in its hands."""
    workers = addresses(2)
    options = ["--workers", ",".join(workers), "--worker-timeout", "1", "--worker-index"]
    with socket.create_server(("", int(workers[1].split(":")[1]))):
        processes = [start("train.py", *TINY, *SCHEDULE, *options, i, "--runs", tmp_path) for i in range(2)]
        (chief, _, gone), (code, _, err) = ends(processes, timeout=90)
    assert code == 75 and f"--workers {workers[1]}" in err and "free port" in err
    assert chief in (1, -signal.SIGKILL) and f"worker 1 ({workers[1]}) is gone" in gone, gone


def test_who_else_is_at_the_chief_s_port_is_waited_for():
    """As a former chief's TensorFlow, which has not ended yet and speaks another language."""
    workers = tuple(addresses(2))
    chief, second = clusters.Cluster(workers, 0, 0.5), clusters.Cluster(workers, 1, 0.5)
    with socket.create_server(("127.0.0.1", int(workers[0].split(":")[1]))) as former, ThreadPoolExecutor() as pool:
        met = pool.submit(second.meet)
        for answer in (b"\x00\x00\x12\x04\xff\xfe\n", b"[]\n", b"half a li"):
            with former.accept()[0] as connection:
                connection.recv(1000)
                connection.sendall(answer)
        former.close()
        chief.meet()
        met.result(timeout=30)
    with ThreadPoolExecutor() as pool:
        assert [*pool.map(lambda c: c.all_gather(c.index), (chief, second))] == [[0, 1]] * 2
    chief.close()
    second.close()


def test_strangers_at_the_port_do_no_harm():
    workers = tuple(addresses(2))
    chief = meeting(workers, 0)
    host, port = workers[0].split(":")
    for said in (b"GET / HTTP/1.1\r\n\r\n", b"\xff\xfe\n", b"[]\n", b'{"index": 7, "workers": []}\n', b""):
        for _ in range(100):
            try:
                stranger = socket.create_connection((host, int(port)), timeout=5)
                break
            except OSError:
                time.sleep(0.1)
        with stranger:
            stranger.sendall(said)
    second = clusters.Cluster(workers, 1, 0.5)
    second.meet()
    assert second.all_gather("b") == [0, "b"]
    second.close()
    assert chief.communicate(timeout=60)[0].strip() == "[0, 'b']" and chief.returncode == 0


def test_addresses_from_tf_config():
    def read(config):
        return clusters.find_cluster(None, None, 1.0, {"TF_CONFIG": json.dumps(config)} if config else {})

    both = {"cluster": {"chief": ["a:1"], "worker": ["b:2", "c:3"]}, "task": {"type": "worker", "index": 1}}
    assert (read(both).addresses, read(both).index) == (("a:1", "b:2", "c:3"), 2)
    assert read({**both, "task": {"type": "chief", "index": 0}}).chief
    assert read({"cluster": {"worker": ["b:2"]}}) is clusters.ALONE and read(None) is clusters.ALONE
    given = clusters.find_cluster("x:1,y:2", 1, 1.0, {"TF_CONFIG": json.dumps(both)})
    assert given.addresses == ("x:1", "y:2") and not given.chief, "options go before the environment"
    for wrong in (
        {"cluster": {"ps": ["a:1"], "worker": ["b:2"]}},
        {**both, "task": {"type": "evaluator"}},
        ["x"],
        {"cluster": {"worker": None}},
        {"cluster": {"worker": [1, 2]}},
        {"cluster": {"worker": "a:1"}},
        {**both, "task": {"type": ["worker"]}},
        {**both, "task": {"type": "chief", "index": 1}},  # there is one
        {**both, "task": {"type": "worker", "index": 2}},
        {**both, "task": {"type": "worker", "index": -1}},
        {**both, "task": {"type": "worker", "index": 0.7}},
    ):
        with pytest.raises(UserError, match="TF_CONFIG"):
            read(wrong)


@pytest.mark.parametrize(
    "workers, index, words",
    [
        ("a:1,b:2", None, "both"),
        (None, 1, "both"),
        ("a:1", 0, "two or more"),
        ("a:1,a:1", 0, "different"),
        ("a,b:2", 0, "host:port"),
        ("a:1,b:99999", 0, "host:port"),
        ("a:1,b:2", 2, "0 to 1"),
    ],
)
def test_wrong_addresses_are_refused(workers, index, words):
    with pytest.raises(UserError, match=words):
        clusters.find_cluster(workers, index, 1.0, {})


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--strategy", "multiworker"], "--workers"),
        (["--strategy", "gpu"], "no GPU"),
        (["--strategy", "mirrored"], "one device"),
        (["--strategy", "gpu", "--workers", "a:1,b:2", "--worker-index", "0"], "one machine"),
    ],
)
def test_devices_that_are_not_there_are_refused(alone, arguments, words):
    code, _, err = train(*TINY, *SCHEDULE, *arguments)
    assert code == 2 and words in err and err.count("error:") == 1 and "Traceback" not in err, err


@pytest.mark.slow
def test_one_command_begins_and_goes_on(tmp_path):
    """As clouds start them: TF_CONFIG for every machine, and the same command again after one of them died."""
    run, hosts = tmp_path / "0-run", addresses(2)
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW")}

    def both():
        configs = [{"cluster": {"worker": hosts}, "task": {"type": "worker", "index": i}} for i in range(2)]
        command = [*TINY, *LONG, "--total-images", "4000", "--checkpoint-minutes", "0.002", "--log", "mlflow"]
        command += ["--strategy", "multiworker", "--run", run]
        return [start("train.py", *command, env=kept | {"TF_CONFIG": json.dumps(c)}) for c in configs]

    workers = both()
    wait_for_checkpoint(workers, tmp_path)
    workers[1].send_signal(signal.SIGKILL)
    ended = [w.communicate(timeout=120) for w in workers]
    assert workers[0].returncode == 1 and "is gone" in ended[0][1]
    workers = both()
    ended = [w.communicate(timeout=300) for w in workers]
    assert [w.returncode for w in workers] == [0, 0], ended
    assert f"resuming {run}" in ended[0][0] and (run / "generator.keras").is_file()
    assert (tmp_path / "mlflow.db").is_file() and (run / "mlflow.json").is_file()


def test_a_folder_that_a_worker_does_not_see_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "SHARED_SECONDS", 0.0)
    second, path = clusters.Cluster(("a:1", "b:2"), 1), tmp_path / "config.json"
    with pytest.raises(UserError, match=r"worker 0 \(a:1\) has it.*all machines see it"):
        session._await(path, second)
    path.touch()
    assert session._await(path, second) == path
