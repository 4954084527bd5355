"""Hosts as --host takes them: names, and addresses of IPv4 and IPv6."""

from __future__ import annotations

import socket


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach the host."""
    return host in ("localhost", "::1") or host.startswith("127.")


def choose_family(host: str) -> socket.AddressFamily:
    """Return IPv6 for addresses with colons, else IPv4."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def format_address(host: str, port: int) -> str:
    """Return the http:// address of a server."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"
