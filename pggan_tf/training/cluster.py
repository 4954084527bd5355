"""Connect the machines that train a run, exchange values between them, and detect lost ones.

A worker is a process that trains the run together with others, usually one per machine. The first
worker is the chief: it writes the run's folder. TensorFlow's collective operations sum the
gradients of all workers. A process that waits in such an operation for a missing worker waits
forever and handles no signals. Each worker therefore also has a socket connected to the chief. The
workers use these connections before TensorFlow starts, to exchange values on which all must agree,
and to detect that another process has ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from pggan_tf.errors import Stopped, TryAgain, UserError, shell_path
from pggan_tf.runs import checkpoint

GRACE_SECONDS = 15.0  # time for TensorFlow to detect a lost worker by itself
_POLL_SECONDS = 0.5
# A machine that fails does not close its connections. The kernel sends keepalive probes after 5
# idle seconds, then every 2 seconds.
_KEEPALIVE = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 11_000}
GUARD = Path(__file__).with_name("guard.py")


class _Gone(Exception):
    """Exception for a worker that has closed its connection; the argument is the worker's index."""


def _split_address(address: str) -> tuple[str, int]:
    """Return (host, port) for an address 'host:port'. Raises UserError if it is not valid."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise UserError(f"--workers {address}: expected host:port, such as 10.0.0.4:2222.")
    return host.strip("[]"), int(port)


@dataclass
class Cluster:
    """The workers that train one run, from the point of view of this process.

    Without addresses, this process trains alone and is the chief.
    """

    addresses: tuple[str, ...] = ()  # host:port of every worker, the chief's first
    index: int = 0  # index of this process among the workers; 0 is the chief
    timeout: float = 5.0  # minutes that workers wait for each other at the start
    folder: Path | None = None  # the run's folder, for messages; None until it is known
    # {index of a worker: connection to it}: all other workers in the chief, only the chief (0) in
    # the others.
    _peers: dict[int, socket.socket] = field(default_factory=dict, init=False)
    _files: dict[int, TextIO] = field(default_factory=dict, init=False)  # the same, as text files
    _guard: subprocess.Popen | None = field(default=None, init=False)  # see guard.py

    @property
    def chief(self) -> bool:
        """Whether this process is the first worker, which writes the run and has callbacks."""
        return self.index == 0

    def name(self, index: int) -> str:
        """Return a worker's name for messages: 'worker 1 (host:port)'."""
        return f"worker {index} ({self.addresses[index]})"

    # Connecting the workers

    def meet(self) -> None:
        """Connect the workers. Raises TryAgain, naming the missing ones, after `timeout` minutes."""
        (self._accept_workers if self.chief else self._call_chief)(time.monotonic() + 60 * self.timeout)
        for index, peer in self._peers.items():
            peer.settimeout(None)
            self._files[index] = peer.makefile("rw", encoding="utf-8")

    def _missing(self, indices) -> TryAgain:
        """Return an exception, not raised here, for the workers (their indices) that are missing."""
        return TryAgain(
            f"{', '.join(map(self.name, indices))}: nothing heard within {self.timeout:g} minutes. Start every worker with the same "
            "--workers and its own --worker-index, look whether a firewall is between them, or give more --worker-timeout."
        )

    def _accept_workers(self, deadline: float) -> None:
        """In the chief, accept all workers. Raises TryAgain after the deadline (time.monotonic())."""
        port = _split_address(self.addresses[0])[1]
        try:
            both = {"family": socket.AF_INET6, "dualstack_ipv6": True} if socket.has_dualstack_ipv6() else {}
            server = socket.create_server(("", port), backlog=len(self.addresses), **both)
        except OSError as error:
            raise TryAgain(
                f"--workers {self.addresses[0]}: this machine's port {port} cannot be opened ({error.strerror})."
            ) from None
        with server:
            server.settimeout(_POLL_SECONDS)
            while missing := [i for i in range(1, len(self.addresses)) if i not in self._peers]:
                if time.monotonic() > deadline:
                    for peer in self._peers.values():
                        with contextlib.suppress(OSError):
                            peer.sendall(_encode_message(missing=missing))
                    raise self._missing(missing)
                # Other clients may connect, too: ignore what they send.
                with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                    self._admit(server.accept()[0])
                self._peers = {i: peer for i, peer in self._peers.items() if not _is_closed(peer)}
        # Answer the workers only after the server is closed, so that TensorFlow can open the port.
        for peer in self._peers.values():
            peer.sendall(_encode_message())

    def _admit(self, peer: socket.socket) -> None:
        """In the chief, check the first message of a new connection, and store the connection.

        If the worker has other addresses or a wrong index, send it the reason and raise ValueError.

        peer: socket of the new connection.
        """
        try:
            peer.settimeout(5.0)
            hello = json.loads(_read_line(peer))
            index, workers = int(hello["index"]), ",".join(hello["workers"])
            if workers != ",".join(self.addresses) or not 0 < index < len(self.addresses):
                wrong = f"--workers {workers}: the first worker has {','.join(self.addresses)}."
                peer.sendall(_encode_message(error=wrong))
                raise ValueError(wrong)
            if index in self._peers and not _is_closed(self._peers[index]):
                twin = f"--worker-index {index}: another process is here with it. Each has its own."
                peer.sendall(_encode_message(twin=twin))
                raise ValueError(twin)
            _keep_alive(peer)
        except BaseException:
            peer.close()
            raise
        self._peers[index] = peer

    def _call_chief(self, deadline: float) -> None:
        """Connect to the chief, and wait until all workers are connected to it.

        Raises TryAgain after the deadline, a value of time.monotonic().
        """
        hello = _encode_message(index=self.index, workers=self.addresses)
        while (left := deadline - time.monotonic()) > 0:
            # Another process, such as a former chief, may use the port: ignore its answer.
            with contextlib.ExitStack() as stack, contextlib.suppress(OSError, ValueError, AttributeError):
                chief = socket.create_connection(_split_address(self.addresses[0]), timeout=min(left, 5.0))
                stack.callback(chief.close)
                _keep_alive(chief)
                chief.sendall(hello)
                # The chief sends the names of missing workers after its own timeout.
                chief.settimeout(60 * self.timeout + 5)
                if answer := _read_line(chief):
                    answer = json.loads(answer)
                    if missing := answer.get("missing"):
                        raise self._missing(missing)
                    if twin := answer.get("twin"):  # perhaps an earlier process that has failed
                        raise TryAgain(twin)
                    if error := answer.get("error"):
                        raise UserError(error)
                    stack.pop_all()
                    self._peers = {0: chief}
                    return
            time.sleep(_POLL_SECONDS)
        raise self._missing([0])

    # Exchanging values

    def all_gather(self, value) -> list:
        """Return a list of the values of all workers, in the order of the workers.

        Every worker has to call this at the same point. If this process trains alone, the list has
        its own value only.

        value: this worker's value, anything that JSON can store.
        """
        if not self.addresses:
            return [value]
        if not self.chief:
            self._send(0, value)
            return self._read(0)
        values = json.loads(json.dumps([value])) + [self._read(i) for i in range(1, len(self.addresses))]
        for index in self._files:
            self._send(index, values)
        return values

    def agree(self, **facts) -> None:
        """Raise UserError if a worker's facts, such as its options, differ from the chief's.

        Every worker has to call this at the same point.

        **facts: this worker's values by name; the message contains name and values.
        """
        first, *others = self.all_gather(facts)
        for index, theirs in enumerate(others, 1):
            for name in dict.fromkeys((*first, *theirs)):
                here, there = (facts.get(name, "not known") for facts in (first, theirs))
                if here != there:
                    raise UserError(
                        f"{self.name(index)}: {name} is {there} there, and {here} with {self.name(0)}. "
                        "Start all workers with the same options, on the same data, by the same pggan-tf."
                    )

    def _send(self, index: int, value) -> None:
        """Send a value to worker number `index` as JSON. Raises _Gone if it has ended."""
        try:
            print(json.dumps(value), file=self._files[index], flush=True)
        except OSError:
            raise _Gone(index) from None

    def _read(self, index: int):
        """Wait for and return a value from worker number `index`. Raises _Gone if it has ended."""
        try:
            line = self._files[index].readline()
        except OSError:
            line = ""
        if not line.endswith("\n"):
            raise _Gone(index)
        return json.loads(line)

    # Detecting lost workers

    @contextlib.contextmanager
    def watch(self) -> Iterator[None]:
        """Context manager that ends this process if another worker ends during the block.

        It raises Stopped. If TensorFlow does not return, a guard process (guard.py) kills this
        process. After the block, all connections are closed.
        """
        import tensorflow as tf

        if not self.addresses:
            yield
            return
        connections = [text for i, peer in self._peers.items() for text in (str(peer.fileno()), self.name(i))]
        self._guard = subprocess.Popen(
            [sys.executable, "-I", str(GUARD), str(os.getpid()), str(GRACE_SECONDS), *connections],
            stdin=subprocess.PIPE,
            pass_fds=[peer.fileno() for peer in self._peers.values()],
            text=True,
        )
        try:
            yield
        except _Gone as gone:
            raise Stopped(self._describe_lost_worker(gone.args[0]), 1) from None
        except tf.errors.OpError as error:  # there are many kinds of them, so check whether a worker is lost
            deadline = time.monotonic() + GRACE_SECONDS / 2
            while (gone := self._find_lost()) is None and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
            if gone is None:
                raise
            raise Stopped(self._describe_lost_worker(gone), 1) from error
        finally:
            self.dismiss_guard()
            self.close()

    def set_folder(self, folder: Path) -> None:
        """Set the run's folder for messages about a lost worker."""
        self.folder = folder
        if self._guard:
            self._guard.stdin.write(f"{folder}\n")
            self._guard.stdin.flush()

    def dismiss_guard(self) -> None:
        """End the guard process. Call this when no collective operations follow."""
        if self._guard:
            self._guard.stdin.close()
            self._guard.wait()
            self._guard = None

    def _find_lost(self) -> int | None:
        """Return the index of a worker that has closed its connection, or None."""
        return next((index for index, peer in self._peers.items() if _is_closed(peer)), None)

    def _describe_lost_worker(self, index: int) -> str:
        """Return a message about the lost worker number `index`, with the command to type next."""
        last = next(iter(checkpoint.list_checkpoints(self.folder)), None) if self.folder else None
        return f"{self.name(index)} is gone; its own output says why. " + (
            f"The last good checkpoint is {last}. Start all workers again, with --resume {shell_path(self.folder)}"
            if last
            else "Nothing was trained yet."
        )

    def leave(self) -> None:
        """Stop watching the other workers. Call this after all have stopped at the same step.

        All workers except the chief wait here until the chief has written everything and has ended.
        After that the workers can be started again.
        """
        self.dismiss_guard()
        if not self.chief:
            with contextlib.suppress(_Gone):
                self._read(0)

    def close(self) -> None:
        """Close all connections."""
        for connection in (*self._files.values(), *self._peers.values()):
            with contextlib.suppress(OSError):
                connection.close()


ALONE = Cluster()  # a process that trains without others


def _encode_message(**content) -> bytes:
    """Return a message to another worker: a line with a JSON object."""
    return (json.dumps(content) + "\n").encode()


def _keep_alive(peer: socket.socket) -> None:
    """Make the kernel close a connection soon if the other machine fails, see _KEEPALIVE."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE.items():
        if hasattr(socket, option):
            peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def _read_line(peer: socket.socket) -> str:
    """Return a line of at most 1 MiB; it is incomplete if the other side closes the connection."""
    data = b""
    while not data.endswith(b"\n") and len(data) < 1 << 20 and (more := peer.recv(65536)):
        data += more
    return data.decode()


def _is_closed(peer: socket.socket) -> bool:
    """Tell whether the other side has closed the connection, without consuming data."""
    poll = select.poll()
    try:
        poll.register(peer, select.POLLIN)
        return bool(poll.poll(0)) and peer.recv(1, socket.MSG_PEEK) == b""
    except OSError:
        return True


def find_cluster(
    workers: str | None, index: int | None, timeout: float, environment: Mapping[str, str] = os.environ
) -> Cluster:
    """Return the cluster given by --workers and --worker-index, or else by TF_CONFIG, or ALONE.

    Args:
        workers: addresses host:port, separated by commas; or None.
        index: index of this process among the workers; or None.
        timeout: minutes that workers wait for each other at the start.
        environment: environment variables; cloud services set TF_CONFIG.

    Raises:
        UserError: if the values are not valid.
    """
    if (workers is None) != (index is None):
        raise UserError("--workers and --worker-index: give both, or neither.")
    if workers is None:
        workers, index = _from_tf_config(environment.get("TF_CONFIG"))
        if len(workers) < 2:
            return ALONE
    else:
        workers = tuple(filter(None, workers.split(",")))
    if not hasattr(select, "poll"):
        raise UserError("--workers: machines train together on Linux alone, not on this system. Leave --workers out.")
    for address in workers:
        _split_address(address)
    if len(workers) < 2 or len(set(workers)) < len(workers):
        raise UserError(
            f"--workers {','.join(workers)}: expected two or more different addresses, such as 10.0.0.4:2222,10.0.0.5:2222."
        )
    if not 0 <= index < len(workers):
        raise UserError(
            f"--worker-index {index}: expected 0 to {len(workers) - 1}, the place of this machine in --workers."
        )
    return Cluster(workers, index, timeout)


def _from_tf_config(text: str | None) -> tuple[tuple[str, ...], int]:
    """Return (addresses of the workers, index of this one) from the text of TF_CONFIG.

    A 'chief' is the first worker. Without text, there are no addresses. Raises UserError if the
    text is not valid.
    """
    if not text:
        return (), 0
    try:
        values = json.loads(text)
        jobs, task = values.get("cluster", {}), values.get("task", {})
        chiefs, others = jobs.get("chief", []), jobs.get("worker", [])
        kind, number = task.get("type", "worker"), int(str(task.get("index", 0)))
        if any(not isinstance(t, list) or any(not isinstance(x, str) for x in t) for t in ([kind], chiefs, others)):
            raise TypeError("expected lists of addresses and the name of a job")
    except (ValueError, AttributeError, TypeError) as error:
        raise UserError(
            f"TF_CONFIG: not what TensorFlow expects ({error}). Mend it, unset it, or give --workers."
        ) from None
    if unknown := {job for job, tasks in jobs.items() if tasks} - {"chief", "worker"} or {kind} - {"chief", "worker"}:
        raise UserError(f"TF_CONFIG: has a '{min(unknown)}'; expected workers, with or without a chief.")
    if jobs and not 0 <= number < len(jobs.get(kind, [])):
        raise UserError(f"TF_CONFIG: is {kind} {number}, of which it has {len(jobs.get(kind, []))}. Count from 0.")
    return (*chiefs, *others), number + (len(chiefs) if kind == "worker" else 0)
