"""Choose the devices that share every batch: the CPU, GPUs of one or several machines, or a TPU."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pggan_tf.config import Plan
from pggan_tf.errors import TryAgain, UserError
from pggan_tf.training.cluster import ALONE, Cluster
from pggan_tf.training.precision import Arithmetic


@contextlib.contextmanager
def join_cluster(choice: str, cluster: Cluster) -> Iterator:
    """Context manager that connects all machines and yields the tf.distribute strategy.

    In the block, training stops on each machine if another machine is lost.

    Args:
        choice: value of --strategy, one of `config.schema.STRATEGIES`.
        cluster: the machines of --workers, or `cluster.ALONE`.
    """
    _check_choice(choice, cluster)
    if cluster.addresses:
        cluster.meet()
    with cluster.watch():
        yield create_strategy(choice, cluster)


def _check_choice(choice: str, cluster: Cluster) -> None:
    """Raise UserError if --strategy and --workers do not go together."""
    if cluster.addresses and choice not in ("auto", "multiworker"):
        raise UserError(
            f"--strategy {choice} with --workers: that is for one machine. Give multiworker, or no --workers."
        )
    if choice == "multiworker" and not cluster.addresses:
        raise UserError(
            "--strategy multiworker: give --workers host:port,host:port and --worker-index, or set TF_CONFIG."
        )


def create_strategy(choice: str = "auto", cluster: Cluster = ALONE):
    """Return a new tf.distribute strategy. Raises UserError if its devices do not exist.

    Args:
        choice: value of --strategy, one of `config.schema.STRATEGIES`. 'auto' uses all GPUs of this
            machine, or of all machines in the cluster; with one device, TensorFlow's default
            strategy is returned.
        cluster: the machines of --workers, which must be connected already.
    """
    import tensorflow as tf

    if cluster.addresses:
        resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec({"worker": list(cluster.addresses)}),
            task_type="worker",
            task_id=cluster.index,
            rpc_layer="grpc",
        )
        try:
            return tf.distribute.MultiWorkerMirroredStrategy(resolver)
        except tf.errors.UnknownError as error:
            # An earlier process may not have ended yet.
            raise TryAgain(
                f"--workers {cluster.addresses[cluster.index]}: TensorFlow cannot open this port here ({error.message}). "
                "Give a free port of this machine."
            ) from None
    gpus = tf.config.list_physical_devices("GPU")
    if choice == "gpu" and not gpus:
        raise UserError(
            "--strategy gpu: TensorFlow finds no GPU here. Give auto or cpu, or install tensorflow[and-cuda]."
        )
    if choice == "cpu" and gpus:
        tf.config.set_visible_devices([], "GPU")
    elif choice == "gpu":
        tf.config.set_visible_devices(gpus[:1], "GPU")
    if choice == "tpu":
        return _create_tpu_strategy()
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if choice == "mirrored" and len(devices) < 2:
        raise UserError(
            "--strategy mirrored: there is one device here. Give auto, which takes as many GPUs as there are."
        )
    if choice == "mirrored" or choice == "auto" and gpus and len(devices) > 1:
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    return tf.distribute.get_strategy()


def _create_tpu_strategy():
    """Return a new tf.distribute.TPUStrategy. Raises UserError if no TPU answers."""
    import tensorflow as tf

    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect()
    except (ValueError, RuntimeError, tf.errors.OpError) as error:
        raise UserError(
            f"--strategy tpu: no TPU answers ({str(error).splitlines()[0]}). Set TPU_NAME, or run on a TPU's own machine."
        ) from None
    return tf.distribute.TPUStrategy(resolver)


def fit_batch(plan: Plan, strategy) -> Plan:
    """Return the plan with batches for these devices.

    GPUs and several devices get larger ones, see `Plan.with_large_batches`, and several devices get
    batches that they can share, see `Plan.with_shared_batches`.
    """
    import tensorflow as tf

    devices = strategy.num_replicas_in_sync
    larger = plan.with_large_batches() if devices > 1 or tf.config.list_logical_devices("GPU") else plan
    return larger.with_shared_batches(devices)


def check_devices(plan: Plan, devices: int, arithmetic: Arithmetic, say) -> None:
    """Raise UserError if the devices cannot share the batches, and make GPUs as exact as --exact says.

    Args:
        plan: the run's plan.
        devices: number of devices that share every batch.
        arithmetic: how they compute.
        say: called with a message if a resumed run will not be the same to the last bit.
    """
    import tensorflow as tf

    config = plan.config
    networks, running = config.networks, config.running
    if tf.config.list_logical_devices("GPU"):
        # On for training steps alone, see `precision.allow_tf32`.
        tf.config.experimental.enable_tensor_float_32_execution(False)
        if not arithmetic.exact:
            say(
                "GPUs take their fastest ways of computing: a resumed run goes on with the same weights, photos and random numbers, but "
                "to rounding and not to the last bit; --exact repeats every bit, more slowly"
            )
        elif networks.conv == "separable" and not arithmetic.xla:
            # TensorFlow has no deterministic depthwise convolution for GPUs, and would raise an
            # error.
            say(
                "separable convolutions on GPUs without XLA: a resumed run goes on to rounding, not to the last bit; --conv standard "
                "would do that"
            )
        else:
            tf.config.experimental.enable_op_determinism()  # else a resumed run would differ in the last bits
    if running.xla == "on" and (devices > 1 or config.purpose.degrade != "none"):
        what = f"{devices} devices talk within a step" if devices > 1 else "--degrade writes JPEG"
        raise UserError(f"--xla on: {what}, which XLA does not compile here. Give --xla off.")
    if devices > 1 and plan.loss.compares_with_batch:
        raise UserError(
            f"--loss {config.objective.loss} on {devices} devices: each would compare with its own images' mean. Use one device."
        )
    for resolution, batch in config.optimization.batch.items():
        if batch % devices:
            raise UserError(f"--batch {batch} at {resolution} px: {devices} devices cannot share it evenly.")
        group, share = networks.stddev_group, batch // devices
        alone = networks.minibatch == "stddev" and not running.sync_batch
        if devices > 1 and alone and share > group > 1 and share % group:
            raise UserError(
                f"--batch {batch} at {resolution} px on {devices} devices: {share} images each, not a multiple of --stddev-group {group}. "
                "Give another, or --sync-batch."
            )
