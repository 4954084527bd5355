"""Keep the colours of a video steady from frame to frame.

A colorizer sees every frame alone, so noise and motion make its colours flicker. Here the colours of
the last frame are moved to where its parts are now, and the new colours are drawn towards them.
Motion is found with DIS optical flow (Kroeger et al. 2016, arXiv 1603.03590) of OpenCV.
"""

from __future__ import annotations

from typing import Any

import numpy as np

STRENGTH = 0.85  # weight of the last frame's colours where it shows the same as this one
_TOLERANCE = 0.04  # difference of lightness, in 0..1, at which that weight has fallen to 1/e
_MISS = 1.5  # pixels by which motion there and back may miss, at which it has fallen so as well
_CUT = 0.4  # mean of the weights below which the scene is taken to have changed
_SMALLEST = 32  # frames with a shorter side are too small for the search of motion


class Steadier:
    """Steadies the colours of frames, which must come one after the other.

    Where the moved last frame does not look like this one, as after a cut or where something was
    hidden before, the new colours stay as they are.

    Args:
        strength: see STRENGTH; 0 leaves all colours as they are.
    """

    def __init__(self, strength: float = STRENGTH):
        import cv2

        self.strength = strength
        self._motion: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._last: tuple[np.ndarray, np.ndarray] | None = None  # lightness uint8 [h,w], ab [h,w,2]

    def __call__(self, lightness: np.ndarray, ab: np.ndarray) -> np.ndarray:
        """Return the steadied colours of the next frame, float32 [h,w,2].

        Args:
            lightness: L of the frame as the network sees it, [h,w,1] in 0..1.
            ab: the colours a and b that the network predicts, [h,w,2] in -1..1.
        """
        now = np.rint(np.clip(lightness[..., 0], 0, 1) * 255).astype(np.uint8)
        ab = np.ascontiguousarray(ab, np.float32)
        if self._last is not None and self._last[0].shape == now.shape and min(now.shape) >= _SMALLEST:
            ab = self._draw_towards_last(now, ab)
        self._last = now, ab
        return ab

    def _draw_towards_last(self, now: np.ndarray, ab: np.ndarray) -> np.ndarray:
        import cv2

        before, colours = self._last or (now, ab)
        flow, back = (
            self._motion.calc(a, b, np.zeros((*now.shape, 2), np.float32)) for a, b in ((now, before), (before, now))
        )
        rows, columns = np.indices(now.shape)
        x, y = (columns + flow[..., 0]).astype(np.float32), (rows + flow[..., 1]).astype(np.float32)
        moved = cv2.remap(colours, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        shown = cv2.remap(before, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        inside = (x >= 0) & (x <= now.shape[1] - 1) & (y >= 0) & (y <= now.shape[0] - 1)
        back = cv2.remap(back, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        miss = np.square(flow + back).sum(-1)
        # Blurred, because noise alone must not count as a difference.
        change = cv2.GaussianBlur(now.astype(np.float32) - shown.astype(np.float32), (0, 0), 2) / 255
        weight = inside * np.exp(-np.square(change / _TOLERANCE) - miss / _MISS**2)
        if weight.mean() < _CUT:
            return ab
        return ab + (self.strength * weight[..., None]).astype(np.float32) * (moved - ab)
