"""Hosts as --host takes them: names, and addresses of IPv4 and IPv6."""

from __future__ import annotations

import socket


def loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def address(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"
