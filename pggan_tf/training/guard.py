"""End a training process that waits for a lost worker: run by `cluster` as a program of its own.

TensorFlow may hold Python's GIL while it waits for another worker. Then no thread of the training
process runs and no signal is handled, so that another process has to notice the loss. It needs
nothing but the standard library, and ends when its standard input is closed.

Arguments: id of the process to guard; seconds to wait for TensorFlow to notice by itself; then, for
each connection, its file descriptor and the name of the worker at its other end. Standard input:
the run's folder, as soon as it is known.
"""

import os
import select
import shlex
import signal
import sys


def main(parent: int, grace: float, names: dict[int, str]) -> None:
    """Wait until a connection is closed, then kill the process `parent` and say what to type.

    names: name of the worker by file descriptor.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connections, word, folder = select.poll(), select.poll(), ""
    for descriptor in names:
        connections.register(descriptor, select.POLLRDHUP)
    for poll in (connections, word):
        poll.register(0, select.POLLIN)

    def listen() -> str:
        text = os.read(0, 65536).decode()
        if not text:
            sys.exit()
        return text.strip()

    while True:
        for descriptor, _ in connections.poll():
            if descriptor == 0:
                folder = listen()
                continue
            while word.poll(1000 * grace):
                folder = listen()
            again = f" Start all workers again, with --resume {shlex.quote(folder)}" if folder else ""
            print(
                f"{names[descriptor]} is gone, and TensorFlow waits for it in vain.{again}", file=sys.stderr, flush=True
            )
            os.kill(parent, signal.SIGKILL)
            sys.exit()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), {int(fd): name for fd, name in zip(sys.argv[3::2], sys.argv[4::2])})
