"""The options --host and --port, and their values: host names, IPv4 and IPv6 addresses."""

from __future__ import annotations

import socket
from collections.abc import Callable

import click

from pggan_tf.errors import UserError

LOCAL = "127.0.0.1"  # what nobody but this machine can reach


def take_host_and_port(port: int, note: str, host: str | None = LOCAL) -> Callable:
    """Return a decorator that gives a command the options --host and --port.

    Args:
        port: default of --port.
        note: end of the help of --host.
        host: default of --host; None: the command chooses.
    """
    about = f"address to listen on; 0.0.0.0 means all addresses of this machine{note}"
    ports = click.IntRange(0, 65535)

    def decorate(command: Callable) -> Callable:
        free = "port to listen on; 0 chooses a free one"
        command = click.option("--port", default=port, show_default=True, type=ports, help=free)(command)
        return click.option("--host", default=host, show_default=bool(host), help=about)(command)

    return decorate


def explain_taken(host: str, port: int, error: OSError) -> UserError:
    """Return the error (not raised here) for an address that cannot be listened on."""
    return UserError(f"--host {host} --port {port}: cannot be listened on ({error.strerror}). Choose another --port.")


def is_loopback(host: str) -> bool:
    """Return whether a host can be reached from this machine only."""
    return host in ("localhost", "::1") or host.startswith("127.")


def choose_family(host: str) -> socket.AddressFamily:
    """Return the address family of a host: IPv6 if it contains a colon, else IPv4."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def format_address(host: str, port: int) -> str:
    """Return the http:// URL of a server, such as 'http://127.0.0.1:8000/'."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"
