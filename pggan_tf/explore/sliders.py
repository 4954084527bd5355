"""Sliders: directions of the latent space along which a generator's images change most.

They follow from the weights alone (SeFa: Shen and Zhou 2021, arXiv 2007.06600, section 3). If the
generator's first affine layer maps a latent z to A z + b, a step along the unit vector v changes its
output by A v. The directions are the eigenvectors of A'A, in descending order of their eigenvalues.
L in shapes is the length of a latent, K the number of sliders.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pggan_tf.errors import UserError, nearest

LIMIT = 10.0  # largest amount, in standard deviations of a latent; hardly a latent is further away


@dataclass(frozen=True)
class Slider:
    """A direction of the latent space, in which a generator's images can be changed."""

    number: int  # 1 for the strongest direction, then in descending order
    name: str  # name that the user gave; "" if there is none
    strength: float  # change of these layers' output, 1 for the root mean square of all directions
    direction: np.ndarray = field(repr=False, compare=False)  # unit vector, float64 [L]

    @property
    def label(self) -> str:
        """Its number, and its name if it has one."""
        return f"{self.number} {self.name}".rstrip()


def read_kernel(network, source: str) -> np.ndarray:
    """Return A', the part of the kernels of the affine layers that latents are multiplied with.

    Args:
        network: the generator.
        source: where it was loaded from, for the message.

    Returns:
        float32 [L, units of all these layers], side by side as in SeFa (Shen and Zhou 2021).

    Raises:
        UserError: if the architecture of the generator has no such layers.
    """
    layers = getattr(network, "latent_layers", [])
    if not layers:
        raise UserError(
            f"{source}: its architecture has no affine layer that the latents enter, so it has no sliders. "
            "Expected a progressive or DCGAN generator."
        )
    return np.concatenate([np.asarray(layer.compute_kernel(), np.float32) for layer in layers], 1)[
        : network.latent_size
    ]


def compute_digest(kernel: np.ndarray) -> str:
    """Return 16 hexadecimal digits that change with the weights that the sliders follow from."""
    return hashlib.sha256(np.ascontiguousarray(kernel).tobytes()).hexdigest()[:16]


def find_directions(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the directions in which the output of an affine layer changes most.

    An eigenvector's sign is arbitrary; here the entry with the largest absolute value is positive.

    Args:
        kernel: A', float [L, units].

    Returns:
        (unit vectors [K, L], strengths [K]), both float64, the strongest first. A strength is the
        length of A v, divided by its root mean square over all directions v. K is the smaller of L
        and units; other directions change nothing.
    """
    kernel = kernel.astype(np.float64)
    values, vectors = np.linalg.eigh(kernel @ kernel.T)
    count = min(kernel.shape)
    values, vectors = values[::-1][:count].clip(0), vectors.T[::-1][:count]
    largest = np.take_along_axis(vectors, abs(vectors).argmax(axis=1)[:, None], axis=1)
    mean = np.square(kernel).sum() / len(kernel)
    return vectors * np.sign(largest), np.sqrt(values / mean if mean else values)


def make_sliders(kernel: np.ndarray, names: Mapping[int, str]) -> list[Slider]:
    """Return all sliders, the strongest first.

    Args:
        kernel: A', as `read_kernel` returns it.
        names: number of a slider -> name that the user gave.
    """
    found = enumerate(zip(*find_directions(kernel)), 1)
    return [Slider(n, names.get(n, ""), float(strength), direction) for n, (direction, strength) in found]


def move(latents: np.ndarray, directions: np.ndarray, amounts: np.ndarray) -> np.ndarray:
    """Move latents along directions, and keep their lengths.

    A unit is one standard deviation of a latent along the direction: the length of the latent,
    divided by sqrt(L). The sum is scaled back to the length that the latent had, because generators
    are trained on latents of nearly one length, and progressive ones normalise it. So a latent moves
    on an arc towards the direction. The order of the directions does not matter.

    export/web/latents.js computes the same.

    Args:
        latents: [N, L], none of them all zeros.
        directions: unit vectors [K, L].
        amounts: units to move along each direction, [K]. If all are 0, the latents stay as they are.

    Returns:
        float32 [N, L].
    """
    z = latents.astype(np.float64)
    length = np.linalg.norm(z, axis=1, keepdims=True)
    moved = z + length / math.sqrt(z.shape[1]) * (np.asarray(amounts, np.float64) @ directions)
    return (moved * (length / np.linalg.norm(moved, axis=1, keepdims=True))).astype(np.float32)


def parse_amount(text: str) -> tuple[str, float]:
    """Return (number or name, amount) for a value of --slider, such as '2=+3' or 'smile=-1.5'.

    Raise UserError if the text is malformed.
    """
    key, _, amount = text.rpartition("=")
    with contextlib.suppress(ValueError):
        if key.strip():
            return key.strip(), float(amount)
    raise UserError(f"--slider {text}: expected NUMBER=AMOUNT or NAME=AMOUNT, such as 2=+3 or smile=-1.5.")


def resolve_amounts(sliders: Sequence[Slider], asked: Mapping[int | str, float], source: str) -> np.ndarray:
    """Return the amount of every slider, float64 [K].

    Args:
        sliders: all sliders of the generator.
        asked: number or name of a slider -> amount.
        source: where the generator was loaded from, for messages.

    Raises:
        UserError: if there is no such slider, one is named twice, or an amount is not in the range.
    """
    amounts = np.zeros(len(sliders))
    seen: dict[int, int | str] = {}  # number -> how it was given
    for key, amount in asked.items():
        number = _find_number(sliders, str(key), source)
        if number in seen:
            raise UserError(f"--slider {seen[number]} and --slider {key}: are the same one. Give one amount for it.")
        seen[number] = key
        if not isinstance(amount, int | float | np.number) or not abs(amount) <= LIMIT:
            raise UserError(
                f"--slider {key}={amount}: expected an amount from -{LIMIT:g} to {LIMIT:g}, in standard deviations."
            )
        amounts[number - 1] = amount
    return amounts


def _find_number(sliders: Sequence[Slider], key: str, source: str) -> int:
    """Return the number of the slider with this number or name. For the errors, see above."""
    if key.isdecimal():
        if 1 <= int(key) <= len(sliders):
            return int(key)
        raise UserError(f"--slider {key}: {source} has the sliders 1 to {len(sliders)}.")
    names = {slider.name: slider.number for slider in sliders if slider.name}
    if key in names:
        return names[key]
    known = nearest(key, list(names)) if names else "none has a name yet. Give one: pggan sliders RUN --rename 2=smile"
    raise UserError(f"--slider {key}: {source} has no slider of this name; {known}")
