"""Helpers for the values of --host: host names, IPv4 and IPv6 addresses."""

from __future__ import annotations

import socket


def is_loopback(host: str) -> bool:
    """Return whether a host can be reached from this machine only."""
    return host in ("localhost", "::1") or host.startswith("127.")


def choose_family(host: str) -> socket.AddressFamily:
    """Return the address family of a host: IPv6 if it contains a colon, else IPv4."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def format_address(host: str, port: int) -> str:
    """Return the http:// URL of a server, such as 'http://127.0.0.1:8000/'."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"
