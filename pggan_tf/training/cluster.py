"""Machines that train one run together: how they meet, what they tell each other, and what happens when one is gone.

TensorFlow's own collectives sum the gradients. But a process that waits in them for a missing one waits without end and heeds no
signal. So each worker also holds a plain connection to the first, the chief: before TensorFlow starts, for whatever all have to
agree on, and to notice at once when the process at the other end is no more.
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

from pggan_tf.errors import Stopped, TryAgain, UserError, shell_path
from pggan_tf.runs import checkpoint

GRACE_SECONDS = 15.0  # for TensorFlow to notice by itself that a worker is gone
_LOOK_SECONDS = 0.5
# A machine that vanishes closes no connection: the kernel asks after so many seconds, and so often.
_KEEPALIVE = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 11_000}
# A process of its own, for TensorFlow may hold Python's lock while it waits for another worker: then no thread of ours runs, and
# no signal is heard. It ends with the process that it guards, or on a word of it. Arguments: that process, seconds of grace, and
# of each connection the descriptor and the worker's name; on standard input, the run's folder.
_GUARD = """
import os, select, shlex, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
parent, grace, folder = int(sys.argv[1]), float(sys.argv[2]), ""
names = {int(fd): name for fd, name in zip(sys.argv[3::2], sys.argv[4::2])}
poll, word = select.poll(), select.poll()
for fd in names:
    poll.register(fd, select.POLLRDHUP)
for each in (poll, word):
    each.register(0, select.POLLIN)

def listen():
    global folder
    text = os.read(0, 65536).decode()
    if not text:
        sys.exit()
    folder = text.strip()

while True:
    for fd, _ in poll.poll():
        if fd == 0:
            listen()
            continue
        while word.poll(1000 * grace):
            listen()
        again = f" Start all workers again, with --resume {shlex.quote(folder)}" if folder else ""
        print(f"{names[fd]} is gone, and TensorFlow waits for it in vain.{again}", file=sys.stderr, flush=True)
        os.kill(parent, signal.SIGKILL)
        sys.exit()
"""


class _Gone(Exception):
    """The worker of this index has closed its connection."""


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise UserError(f"--workers {address}: expected host:port, such as 10.0.0.4:2222.")
    return host.strip("[]"), int(port)


@dataclass
class Cluster:
    """addresses: host:port of every worker, the chief's first; index: which of them this process is. Without addresses, a
    process by itself: it is its own chief, and agrees with itself. timeout: minutes that workers wait for each other at the
    start. folder: of the run, once it is known, for messages."""

    addresses: tuple[str, ...] = ()
    index: int = 0
    timeout: float = 5.0
    folder: Path | None = None
    _peers: dict[int, socket.socket] = field(default_factory=dict, init=False)
    _files: dict[int, object] = field(default_factory=dict, init=False)
    _guard: subprocess.Popen | None = field(default=None, init=False)

    @property
    def chief(self) -> bool:
        return self.index == 0

    def name(self, index: int) -> str:
        return f"worker {index} ({self.addresses[index]})"

    # Meeting

    def meet(self) -> None:
        """Waits until all are there. UserError names those that are not."""
        (self._receive if self.chief else self._call)(time.monotonic() + 60 * self.timeout)
        for index, peer in self._peers.items():
            peer.settimeout(None)
            self._files[index] = peer.makefile("rw", encoding="utf-8")

    def _missing(self, indices) -> TryAgain:
        return TryAgain(
            f"{', '.join(map(self.name, indices))}: nothing heard within {self.timeout:g} minutes. Start every worker with the same "
            "--workers and its own --worker-index, look whether a firewall is between them, or give more --worker-timeout."
        )

    def _receive(self, deadline: float) -> None:
        port = _split(self.addresses[0])[1]
        try:
            both = {"family": socket.AF_INET6, "dualstack_ipv6": True} if socket.has_dualstack_ipv6() else {}
            server = socket.create_server(("", port), backlog=len(self.addresses), **both)
        except OSError as error:
            raise TryAgain(
                f"--workers {self.addresses[0]}: this machine's port {port} cannot be opened ({error.strerror})."
            ) from None
        with server:
            server.settimeout(_LOOK_SECONDS)
            while missing := [i for i in range(1, len(self.addresses)) if i not in self._peers]:
                if time.monotonic() > deadline:
                    for peer in self._peers.values():
                        with contextlib.suppress(OSError):
                            peer.sendall(_message(missing=missing))
                    raise self._missing(missing)
                with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # of a stranger at the port
                    self._admit(server.accept()[0])
                self._peers = {i: peer for i, peer in self._peers.items() if not _closed(peer)}
        # Now, and not before, is this port free for TensorFlow.
        for peer in self._peers.values():
            peer.sendall(_message())

    def _admit(self, peer: socket.socket) -> None:
        try:
            peer.settimeout(5.0)
            hello = json.loads(_line(peer))
            index, workers = int(hello["index"]), ",".join(hello["workers"])
            if workers != ",".join(self.addresses) or not 0 < index < len(self.addresses):
                wrong = f"--workers {workers}: the first worker has {','.join(self.addresses)}."
                peer.sendall(_message(error=wrong))
                raise ValueError(wrong)
            if index in self._peers and not _closed(self._peers[index]):
                twin = f"--worker-index {index}: another process is here with it. Each has its own."
                peer.sendall(_message(twin=twin))
                raise ValueError(twin)
            _keep_alive(peer)
        except BaseException:
            peer.close()
            raise
        self._peers[index] = peer

    def _call(self, deadline: float) -> None:
        hello = _message(index=self.index, workers=self.addresses)
        while (left := deadline - time.monotonic()) > 0:
            # Whoever else is at the port, such as a former chief that has not ended yet, answers otherwise.
            with contextlib.ExitStack() as stack, contextlib.suppress(OSError, ValueError, AttributeError):
                chief = socket.create_connection(_split(self.addresses[0]), timeout=min(left, 5.0))
                stack.callback(chief.close)
                _keep_alive(chief)
                chief.sendall(hello)
                chief.settimeout(60 * self.timeout + 5)  # the chief is there, and says who is not at a time of its own
                if answer := _line(chief):
                    answer = json.loads(answer)
                    if missing := answer.get("missing"):
                        raise self._missing(missing)
                    if twin := answer.get("twin"):  # or one before this that vanished, and is not given up yet
                        raise TryAgain(twin)
                    if error := answer.get("error"):
                        raise UserError(error)
                    stack.pop_all()
                    self._peers = {0: chief}
                    return
            time.sleep(_LOOK_SECONDS)
        raise self._missing([0])

    # Agreeing

    def everyone(self, value) -> list:
        """What every worker says, in their order. value: anything that JSON holds. All have to ask at the same point."""
        if not self.addresses:
            return [value]
        if not self.chief:
            self._say(0, value)
            return self._hear(0)
        said = json.loads(json.dumps([value])) + [self._hear(i) for i in range(1, len(self.addresses))]
        for index in self._files:
            self._say(index, said)
        return said

    def agree(self, **facts) -> None:
        """Refuses workers that were started otherwise than the chief."""
        first, *others = self.everyone(facts)
        for index, theirs in enumerate(others, 1):
            for name in dict.fromkeys((*first, *theirs)):
                here, there = (facts.get(name, "not known") for facts in (first, theirs))
                if here != there:
                    raise UserError(
                        f"{self.name(index)}: {name} is {there} there, and {here} with {self.name(0)}. "
                        "Start all workers with the same options, on the same data, by the same pggan-tf."
                    )

    def _say(self, index: int, value) -> None:
        try:
            self._files[index].write(json.dumps(value) + "\n")
            self._files[index].flush()
        except OSError:
            raise _Gone(index) from None

    def _hear(self, index: int):
        try:
            line = self._files[index].readline()
        except OSError:
            line = ""
        if not line.endswith("\n"):
            raise _Gone(index)
        return json.loads(line)

    # Losing each other

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Within, a worker that is gone ends this process too: by Stopped, or, where TensorFlow does not return, by a guard."""
        import tensorflow as tf

        if not self.addresses:
            yield
            return
        connections = [text for i, peer in self._peers.items() for text in (str(peer.fileno()), self.name(i))]
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-c", _GUARD, str(os.getpid()), str(GRACE_SECONDS), *connections],
            stdin=subprocess.PIPE,
            pass_fds=[peer.fileno() for peer in self._peers.values()],
            text=True,
        )
        try:
            yield
        except _Gone as gone:
            raise Stopped(self._farewell(gone.args[0]), 1) from None
        except tf.errors.OpError as error:  # of many kinds; whether someone is gone decides
            deadline = time.monotonic() + GRACE_SECONDS / 2
            while (gone := self._lost()) is None and time.monotonic() < deadline:
                time.sleep(_LOOK_SECONDS)
            if gone is None:
                raise
            raise Stopped(self._farewell(gone), 1) from error
        finally:
            self.dismiss_guard()
            self.close()

    def trains(self, folder: Path) -> None:
        """The run's folder is known from here on."""
        self.folder = folder
        if self._guard:
            self._guard.stdin.write(f"{folder}\n")
            self._guard.stdin.flush()

    def dismiss_guard(self) -> None:
        """From here on this process waits in no collective, and ends by itself."""
        if self._guard:
            self._guard.stdin.close()
            self._guard.wait()
            self._guard = None

    def _lost(self) -> int | None:
        return next((index for index, peer in self._peers.items() if _closed(peer)), None)

    def _farewell(self, index: int) -> str:
        last = next(iter(checkpoint.saved(self.folder)), None) if self.folder else None
        return f"{self.name(index)} is gone; its own output says why. " + (
            f"The last good checkpoint is {last}. Start all workers again, with --resume {shell_path(self.folder)}"
            if last
            else "Nothing was trained yet."
        )

    def part(self) -> None:
        """Training is over, by agreement: nobody is missed from now on. All but the chief wait until it has written what is left
        to write: then whoever starts the workers again finds everything in its place."""
        self.dismiss_guard()
        if not self.chief:
            with contextlib.suppress(_Gone):
                self._hear(0)

    def close(self) -> None:
        for connection in (*self._files.values(), *self._peers.values()):
            with contextlib.suppress(OSError):
                connection.close()


ALONE = Cluster()


def _message(**content) -> bytes:
    return (json.dumps(content) + "\n").encode()


def _keep_alive(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE.items():
        if hasattr(socket, option):
            peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def _line(peer: socket.socket) -> str:
    """A short line, up to the end where the other side hangs up."""
    data = b""
    while not data.endswith(b"\n") and len(data) < 1 << 20 and (more := peer.recv(65536)):
        data += more
    return data.decode()


def _closed(peer: socket.socket) -> bool:
    """Whether the other end has hung up; looks, and takes nothing."""
    poll = select.poll()
    try:
        poll.register(peer, select.POLLIN)
        return bool(poll.poll(0)) and peer.recv(1, socket.MSG_PEEK) == b""
    except OSError:
        return True


def cluster(
    workers: str | None, index: int | None, timeout: float, environment: Mapping[str, str] = os.environ
) -> Cluster:
    """From --workers and --worker-index, or else from TF_CONFIG, as clouds set it."""
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
        _split(address)
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
    """(addresses, index): a 'chief' is the first worker."""
    if not text:
        return (), 0
    try:
        values = json.loads(text)
        jobs, task = values.get("cluster", {}), values.get("task", {})
        chiefs, others = jobs.get("chief", []), jobs.get("worker", [])
        kind, number = task.get("type", "worker"), int(task.get("index", 0))
    except (ValueError, AttributeError, TypeError) as error:
        raise UserError(
            f"TF_CONFIG: not what TensorFlow expects ({error}). Mend it, unset it, or give --workers."
        ) from None
    if unknown := {job for job, tasks in jobs.items() if tasks} - {"chief", "worker"} or {kind} - {"chief", "worker"}:
        raise UserError(f"TF_CONFIG: has a '{min(unknown)}'; expected workers, with or without a chief.")
    return (*chiefs, *others), number + (len(chiefs) if kind == "worker" else 0)
