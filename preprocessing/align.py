"""Cut squares around faces out of photos.

Points are (x, y) in pixels of the photo; (0, 0) is the top left corner of the first pixel.
"""

from __future__ import annotations

import cv2
import numpy as np

from preprocessing.detect import Face


def find_square_box(face: Face, margin: float) -> np.ndarray:
    """Return the corners, floats [4, 2] (x, y), of an upright square around a face.

    Corners are clockwise from the top left one. The square has the same centre as the face's box,
    and its side is (1 + margin) times the box's longer side.
    """
    centre = face.box[:2] + face.box[2:] / 2
    half = face.size * (1 + margin) / 2
    return centre + half * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])


def find_ffhq_box(landmarks: np.ndarray) -> np.ndarray:
    """Return the corners, floats [4, 2] (x, y), of the square that CelebA-HQ and FFHQ cut out.

    The square is parallel to the line between the eyes. Its size follows from the distance between
    the eyes and the distance from the eyes to the mouth (Karras et al. 2018, appendix C). Corners
    are in the order of `find_square_box`.

    landmarks: see `Face.landmarks`.
    """
    eyes, mouth = landmarks[:2].mean(axis=0), landmarks[3:].mean(axis=0)
    eye_to_eye, eye_to_mouth = landmarks[1] - landmarks[0], mouth - eyes
    x = eye_to_eye - np.array([-eye_to_mouth[1], eye_to_mouth[0]])  # rot90: (x, y) -> (-y, x)
    x /= np.hypot(*x)
    x *= max(2.0 * np.hypot(*eye_to_eye), 1.8 * np.hypot(*eye_to_mouth))
    y = np.array([-x[1], x[0]])
    centre = eyes + 0.1 * eye_to_mouth
    return np.stack([centre - x - y, centre + x - y, centre + x + y, centre - x + y])


def cut_out(photo: np.ndarray, corners: np.ndarray, size: int) -> np.ndarray:
    """Cut a square out of a photo and return it, resized, as uint8 [size, size, C].

    Pixels beyond the photo's border are mirrored. The square is reduced with area means, so that it
    has no aliasing.

    Args:
        photo: uint8 [H, W, C].
        corners: corners [4, 2] (x, y) of the square, in the order of `find_square_box`.
        size: side of the result in pixels.
    """
    side = float(np.hypot(*(corners[1] - corners[0])))
    # A large square is first reduced with area means, to a side between four and six times `size`.
    shrink = int(side // (4 * size))
    if shrink > 1:
        height, width = photo.shape[:2]
        photo = cv2.resize(photo, (max(1, width // shrink), max(1, height // shrink)), interpolation=cv2.INTER_AREA)
        corners = corners * np.array([photo.shape[1] / width, photo.shape[0] / height])
        side = float(np.hypot(*(corners[1] - corners[0])))
    fine = size * max(1, int(np.ceil(side / size)))
    # In `corners`, (0, 0) is the corner of the first pixel, while in cv2 it is the pixel's centre.
    target = np.array([(0, 0), (fine, 0), (fine, fine)], np.float32) - 0.5
    matrix = cv2.getAffineTransform((corners[:3] - 0.5).astype(np.float32), target)
    out = cv2.warpAffine(photo, matrix, (fine, fine), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    if fine > size:
        out = cv2.resize(out, (size, size), interpolation=cv2.INTER_AREA)
    return out.reshape(size, size, -1)


def measure_sharpness(image: np.ndarray) -> float:
    """Return the sharpness of an image, 0 or more: the variance of the Laplacian of its gray.

    Below about 50, a face of 128 pixels looks blurred.

    image: uint8 [H, W, C], gray (C = 1) or RGB (C = 3).
    """
    gray = image if image.shape[-1] == 1 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(gray, cv2.CV_64F).var())
