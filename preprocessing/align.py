"""From a face in a photo to a square picture of it."""

from __future__ import annotations

import cv2
import numpy as np

from preprocessing.detect import Face


def square_box(face: Face, margin: float) -> np.ndarray:
    """The square around the centre of the face's box, `margin` times longer than the box's longer side: its four corners
    [4, 2] x, y, clockwise from the top left one."""
    centre = face.box[:2] + face.box[2:] / 2
    half = face.size * (1 + margin) / 2
    return centre + half * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])


def ffhq_box(landmarks: np.ndarray) -> np.ndarray:
    """The square that CelebA-HQ and FFHQ take (Karras et al. 2018, appendix C): turned with the eyes, sized by the eyes'
    distance and that of eyes and mouth. landmarks: see Face. -> corners [4, 2] as in square_box."""
    eyes, mouth = landmarks[:2].mean(axis=0), landmarks[3:].mean(axis=0)
    eye_to_eye, eye_to_mouth = landmarks[1] - landmarks[0], mouth - eyes
    x = eye_to_eye - np.array([-eye_to_mouth[1], eye_to_mouth[0]])  # rot90: (x, y) -> (-y, x)
    x /= np.hypot(*x)
    x *= max(2.0 * np.hypot(*eye_to_eye), 1.8 * np.hypot(*eye_to_mouth))
    y = np.array([-x[1], x[0]])
    centre = eyes + 0.1 * eye_to_mouth
    return np.stack([centre - x - y, centre + x - y, centre + x + y, centre - x + y])


def cut_out(photo: np.ndarray, corners: np.ndarray, size: int) -> np.ndarray:
    """The square with these corners, in pixels of the photo, as uint8 [size, size, C]. Beyond the photo's border it is
    reflected. Reduced by means, so that nothing aliases."""
    side = float(np.hypot(*(corners[1] - corners[0])))
    # Large squares: first whole pixels are averaged until the square is at most four times the size wanted.
    shrink = int(side // (4 * size))
    if shrink > 1:
        height, width = photo.shape[:2]
        photo = cv2.resize(photo, (max(1, width // shrink), max(1, height // shrink)), interpolation=cv2.INTER_AREA)
        corners = corners * np.array([photo.shape[1] / width, photo.shape[0] / height])
        side = float(np.hypot(*(corners[1] - corners[0])))
    fine = size * max(1, int(np.ceil(side / size)))
    # Corners are edges of pixels, and cv2 counts from the centres of pixels.
    target = np.array([(0, 0), (fine, 0), (fine, fine)], np.float32) - 0.5
    matrix = cv2.getAffineTransform((corners[:3] - 0.5).astype(np.float32), target)
    out = cv2.warpAffine(photo, matrix, (fine, fine), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    if fine > size:
        out = cv2.resize(out, (size, size), interpolation=cv2.INTER_AREA)
    return out.reshape(size, size, -1)


def sharpness(image: np.ndarray) -> float:
    """Variance of the Laplacian of the gray picture, 0..: below about 50 a face of 128 pixels looks blurred."""
    gray = image if image.shape[-1] == 1 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(gray, cv2.CV_64F).var())
