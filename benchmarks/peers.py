"""The same training step in PyTorch, as people write it there.

It has the layers of `networks.progressive`, WGAN-GP, two stages and Adam.
"""

from __future__ import annotations

import math
import time

import torch
import torch.nn.functional as F
from torch import nn


def width(resolution: int, base: int, most: int) -> int:
    return min(2 * base // resolution, most)


class Conv(nn.Module):
    def __init__(self, cin: int, cout: int, kernel: int = 3, gain: float = math.sqrt(2)):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(cout, cin, kernel, kernel)), nn.Parameter(torch.zeros(cout))
        self.scale, self.padding = gain / math.sqrt(cin * kernel * kernel), kernel // 2

    def forward(self, x):
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=self.padding)


class Dense(nn.Module):
    def __init__(self, cin: int, cout: int, gain: float = math.sqrt(2)):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(cout, cin)), nn.Parameter(torch.zeros(cout))
        self.scale = gain / math.sqrt(cin)

    def forward(self, x):
        return F.linear(x, self.weight * self.scale, self.bias)


def activate(x):
    return F.leaky_relu(x, 0.2)


def pixel_norm(x):
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


class Generator(nn.Module):
    def __init__(self, resolutions, latent: int, base: int, most: int):
        super().__init__()
        w = [width(r, base, most) for r in resolutions]
        self.dense, self.first = Dense(latent, w[0] * 16, math.sqrt(2) / 4), Conv(w[0], w[0])
        self.ups = nn.ModuleList(Conv(a, b) for a, b in zip(w, w[1:]))
        self.convs = nn.ModuleList(Conv(b, b) for b in w[1:])
        self.image = Conv(w[-1], 3, 1, 1.0)

    def forward(self, z):
        x = pixel_norm(activate(self.dense(pixel_norm(z)).view(len(z), -1, 4, 4)))
        x = pixel_norm(activate(self.first(x)))
        for up, conv in zip(self.ups, self.convs):
            x = pixel_norm(activate(up(F.interpolate(x, scale_factor=2, mode="nearest"))))
            x = pixel_norm(activate(conv(x)))
        return self.image(x)


class Discriminator(nn.Module):
    def __init__(self, resolutions, base: int, most: int):
        super().__init__()
        w = [width(r, base, most) for r in resolutions]
        self.image = Conv(3, w[-1], 1)
        self.convs = nn.ModuleList(Conv(b, b) for b in reversed(w[1:]))
        self.downs = nn.ModuleList(Conv(b, a) for a, b in reversed(list(zip(w, w[1:]))))
        self.last, self.dense, self.logit = (
            Conv(w[0] + 1, w[0]),
            Dense(16 * w[0], width(2, base, most)),
            Dense(width(2, base, most), 1, 1.0),
        )

    def forward(self, x):
        x = activate(self.image(x))
        for conv, down in zip(self.convs, self.downs):
            x = activate(conv(x))
            x = activate(F.avg_pool2d(down(x), 2))
        n, c, h, w = x.shape
        spread = (x.view(-1, 4, c, h, w).var(1, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3))
        x = torch.cat([x, spread.repeat_interleave(4).view(n, 1, 1, 1).expand(n, 1, h, w)], 1)
        x = activate(self.last(x))
        return self.logit(activate(self.dense(x.flatten(1)))).squeeze(1)


def images_per_second(
    resolution: int,
    batch: int,
    latent: int,
    base: int,
    most: int,
    best: bool,
    seconds: float,
    device: str = "cpu",
    compiled: bool = False,
) -> float:
    """Return the speed of the training step in PyTorch.

    Args:
        resolution: side of the images in pixels.
        batch: images per step.
        latent: length of a latent.
        base: number that widths are derived from, as --fmap-base.
        most: largest width, as --fmap-max.
        best: use autocast to bfloat16 and channels_last, the fastest form that PyTorch documents;
            otherwise plain float32 (on GPUs, convolutions in TF32, PyTorch's default).
        seconds: time to measure for.
        device: PyTorch's name of the device, 'cpu' or 'cuda'.
        compiled: use torch.compile, too, for all passes but those of the penalty, whose second
            derivatives it does not support.
    """
    resolutions = [2**k for k in range(2, resolution.bit_length())]
    torch.manual_seed(0)
    g, d = (m.to(device) for m in (Generator(resolutions, latent, base, most), Discriminator(resolutions, base, most)))
    reals = torch.rand(batch, 3, resolution, resolution, device=device) * 2 - 1
    if best:
        g, d, reals = (m.to(memory_format=torch.channels_last) for m in (g, d, reals))
    optimizer_g, optimizer_d = (torch.optim.Adam(m.parameters(), 1e-3, (0.0, 0.99)) for m in (g, d))
    make, judge = (torch.compile(g), torch.compile(d)) if compiled else (g, d)

    def draw():
        return torch.randn(batch, latent, device=device)

    def step():
        with torch.autocast(device, torch.bfloat16, enabled=best):
            with torch.no_grad():
                fakes = make(draw())
            real_logits, fake_logits = judge(reals), judge(fakes)
            mix = torch.rand(batch, 1, 1, 1, device=device)
            point = (mix * reals + (1 - mix) * fakes).requires_grad_()
            (slope,) = torch.autograd.grad(d(point).sum(), point, create_graph=True)
            penalty = (slope.float().flatten(1).norm(dim=1) - 1).square().mean()
            loss = (fake_logits - real_logits).mean() + 10 * penalty + 1e-3 * real_logits.square().mean()
        optimizer_d.zero_grad()
        loss.backward()
        optimizer_d.step()
        with torch.autocast(device, torch.bfloat16, enabled=best):
            for p in d.parameters():
                p.requires_grad_(False)
            loss = -judge(make(draw())).mean()
        optimizer_g.zero_grad()
        loss.backward()
        optimizer_g.step()
        for p in d.parameters():
            p.requires_grad_(True)
        return loss

    for _ in range(3):  # builds kernels, and chooses among them
        step().item()
    count, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        for _ in range(1 if device == "cpu" else 10):  # a GPU works on while the next steps are told
            loss = step()
            count += 1
        loss.item()  # waits for the device
    return count * batch / (time.perf_counter() - begun)


if __name__ == "__main__":
    import json
    import sys

    print(images_per_second(**json.loads(sys.argv[1])))
