"""Find faces in photos with the networks of the package mtcnn.

The networks are those of Zhang et al. 2016, "Joint Face Detection and Alignment ...". The package's
own detector searches for faces of every size, fails for a whole batch if it fails for one image,
and finds nothing if the smallest size of a face is increased. Therefore its three networks are
called one by one here, on batches, and only for the chosen sizes: the first proposes boxes at
several scales of a photo, the second refines the boxes, and the third adds landmarks (points of
eyes, nose and mouth).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

_CELL = 12  # side of the first network's input in pixels
_SMALLEST = 20  # smallest face in pixels that the networks are made for
_STEP = 0.709  # ratio of successive scales of the image pyramid
# Before the search, photos are reduced until the smallest face to find has _SMALLEST pixels. Their
# longer side is not reduced below this many pixels, so that for small photos the boxes are those of
# the package.
_LEAST_SIDE = 512
_BATCH_PIXELS = 4_000_000  # pixels in a batch, to limit the memory
_THRESHOLDS = (0.6, 0.7, 0.8)  # smallest confidence for each network, as in the package
_OVERLAP_IN_SCALE, _OVERLAP = 0.5, 0.7  # thresholds of non-maximum suppression


@dataclass(frozen=True)
class Face:
    """Face that was found in a photo. Coordinates are in pixels of the photo."""

    box: np.ndarray  # x, y, width, height
    # [5, 2]: x, y of left eye, right eye, nose, left and right corner of the mouth; left is the
    # viewer's left.
    landmarks: np.ndarray
    confidence: float  # 0..1

    @property
    def size(self) -> float:
        """Longer side of the box in pixels."""
        return float(self.box[2:].max())


def _list_scales(side: int, min_face: float) -> list[float]:
    """Return the factors by which photos are scaled for the first network, as in the package.

    At scale s, this network finds faces of about 12 / s to 17 / s pixels. Scales that find only
    smaller faces than `min_face` are left out.

    Args:
        side: shorter side of the photos in pixels.
        min_face: smallest face to find, in pixels.
    """
    count = round(-(np.log(side / _CELL) / np.log(_STEP) + 1))
    scales = [_CELL / _SMALLEST * _STEP**i for i in range(count)]
    return [s for s in scales if s <= _CELL / _STEP / min_face]


class Detector:
    """Detector of faces. Call it with photos to find the faces in them.

    Args:
        min_face: smallest face to find, in pixels.
    """

    def __init__(self, min_face: float = _SMALLEST):
        from importlib.resources import files

        import tensorflow as tf
        from mtcnn.stages import StageONet, StagePNet, StageRNet

        self.min_face = max(min_face, 1.0)
        # The package would first look for files of these names in the current folder, so their full
        # paths are given.
        weights = files("mtcnn.assets.weights")

        def load(stage, name, side=None):
            # lz4 flushes a file again after it was closed, and Python 3.13 would print the error.
            before, sys.unraisablehook = sys.unraisablehook, lambda _: None
            try:
                model = stage(weights=str(weights / name)).model
            finally:
                sys.unraisablehook = before
            signature = [tf.TensorSpec([None, side, side, 3], tf.float32)]
            return tf.function(lambda x: model(x), input_signature=signature, autograph=False)

        self.propose = load(StagePNet, "pnet.lz4")
        self.refine = load(StageRNet, "rnet.lz4", 24)
        self.output = load(StageONet, "onet.lz4", 48)

    def __call__(self, photos: Sequence[np.ndarray]) -> list[list[Face]]:
        """Return a list of faces for each photo, sorted by confidence, the highest first.

        photos: uint8 [H, W, 3], RGB, of any sizes.
        """
        reduced, factors = [], []
        for photo in photos:
            factor = min(1.0, max(_SMALLEST / self.min_face, _LEAST_SIDE / max(photo.shape[:2])))
            height, width = (max(1, round(side * factor)) for side in photo.shape[:2])
            if factor < 1:
                photo = cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)
            reduced.append(photo)
            factors.append(factor)
        found: list[list[Face]] = [[] for _ in photos]
        for batch in self._group(reduced):
            rows = self._detect([reduced[i] for i in batch], self.min_face * min(factors[i] for i in batch))
            for row in rows:
                i = batch[int(row[0])]
                height, width = photos[i].shape[:2]
                corners = np.clip(row[1:5] / factors[i], 0, [width - 1, height - 1] * 2)
                landmarks = np.stack([row[6:11], row[11:16]], axis=1) / factors[i]
                found[i].append(
                    Face(np.concatenate([corners[:2], corners[2:] - corners[:2]]), landmarks, float(row[5]))
                )
        return [sorted(faces, key=lambda face: -face.confidence) for faces in found]

    @staticmethod
    def _group(photos: list[np.ndarray]) -> list[list[int]]:
        """Group photos of the same size into batches. Return the indices of each batch's photos.

        Photos are not padded to one size, because padding would change which faces are found near
        the borders. A batch is limited to _BATCH_PIXELS, so that it fits into memory. Photos that
        are too small for the first network are left out.
        """
        by_shape: dict[tuple, list[int]] = {}
        for i, photo in enumerate(photos):
            if min(photo.shape[:2]) >= _CELL:
                by_shape.setdefault(photo.shape, []).append(i)
        out = []
        for (height, width, _), numbers in by_shape.items():
            step = max(1, _BATCH_PIXELS // (height * width))
            out += [numbers[i : i + step] for i in range(0, len(numbers), step)]
        return out

    def _detect(self, photos: list[np.ndarray], min_face: float) -> np.ndarray:
        """Find faces in photos of one size.

        Args:
            photos: uint8 [H, W, 3], RGB.
            min_face: smallest face to find, in pixels.

        Returns:
            Array [F, 16] with a row for each face: index of the photo, x1, y1, x2, y2, confidence,
            then five x and five y of the landmarks. If there is no face, it has no rows.
        """
        import tensorflow as tf
        from mtcnn.utils import bboxes as boxes
        from mtcnn.utils.images import extract_patches, scale_images
        from mtcnn.utils.landmarks import adjust_landmarks

        images = (tf.cast(np.stack(photos), tf.float32) - 127.5) / 128
        height, width = photos[0].shape[:2]
        proposals = []
        for scale in _list_scales(min(height, width), min_face):
            offsets, scores = self.propose(scale_images(images, scale))
            rows = boxes.generate_bounding_box(offsets, scores, _THRESHOLDS[0])
            if len(rows):
                rows = boxes.upscale_bboxes(rows, np.full(len(photos), scale))
                proposals.append(
                    boxes.smart_nms_from_bboxes(rows, _OVERLAP_IN_SCALE, method="union", initial_sort=False)
                )
        rows = np.concatenate(proposals) if proposals else np.empty((0, 6))
        if len(rows):
            rows = boxes.smart_nms_from_bboxes(rows, _OVERLAP, method="union", initial_sort=True)
            rows = boxes.resize_to_square(rows)
            offsets, scores = (t.numpy() for t in self.refine(extract_patches(images, rows, (24, 24))))
            rows = boxes.adjust_bboxes(boxes.replace_confidence(rows, scores), offsets)
            rows = boxes.pick_matches(rows, score_threshold=_THRESHOLDS[1])
        if len(rows):
            rows = boxes.smart_nms_from_bboxes(rows, _OVERLAP, method="union", initial_sort=True)
            rows = boxes.resize_to_square(rows)
            offsets, points, scores = self.output(extract_patches(images, rows, (48, 48)))
            points = adjust_landmarks(points, rows)
            rows = boxes.adjust_bboxes(boxes.replace_confidence(rows, scores.numpy()), offsets.numpy())
            rows = np.concatenate([rows, points], axis=-1)
            rows = boxes.pick_matches(rows, scores_column=5, score_threshold=_THRESHOLDS[2])
        if len(rows):
            rows = boxes.smart_nms_from_bboxes(rows, _OVERLAP, method="min", initial_sort=True)
        return rows
