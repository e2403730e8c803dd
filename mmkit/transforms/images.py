"""Reading, resizing and padding arrays of pixels with OpenCV."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np

from mmkit.errors import InvalidTypeError, InvalidValueError, MissingFileError, UserError

COLOR_TYPES = {
    'color': cv2.IMREAD_COLOR,
    'grayscale': cv2.IMREAD_GRAYSCALE,
    'unchanged': cv2.IMREAD_UNCHANGED,
    'color_ignore_orientation': cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION,
    'grayscale_ignore_orientation': cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION,
}
CHANNEL_ORDERS = ('bgr', 'rgb')
INTERPOLATIONS = {
    'nearest': cv2.INTER_NEAREST,
    'bilinear': cv2.INTER_LINEAR,
    'bicubic': cv2.INTER_CUBIC,
    'area': cv2.INTER_AREA,
    'lanczos': cv2.INTER_LANCZOS4,
}
BACKENDS = ('cv2', 'pillow')
BORDERS = {
    'constant': cv2.BORDER_CONSTANT,
    'edge': cv2.BORDER_REPLICATE,
    'reflect': cv2.BORDER_REFLECT_101,
    'symmetric': cv2.BORDER_REFLECT,
}


class BrokenImageError(UserError, OSError):
    """A file that exists but holds no complete image."""


def read_image(
    path: str | Path, color_type: str = 'color', channel_order: str = 'bgr', backend: str = 'cv2'
) -> np.ndarray:
    """(H, W, 3) or (H, W), turned as its EXIF orientation says unless `color_type` forbids it.

    Args:
        color_type: of `COLOR_TYPES`.
        channel_order: 'bgr' or 'rgb'.
        backend: 'cv2' or 'pillow'.

    Raises:
        MissingFileError: if there is no such file.
        BrokenImageError: if it is not an image, or ends early.
    """
    try:
        content = Path(path).read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise MissingFileError(f'no image file {path}') from error
    problem = _truncated(content)
    if problem:
        raise BrokenImageError(f'broken image {path}: {problem}')
    img = _decode_pillow(path, content, color_type) if backend == 'pillow' else _decode_cv2(path, content, color_type)
    if channel_order == 'rgb' and img.ndim == 3 and img.shape[2] == 3:
        img = cv2.cvtColor(img, cv2.COLOR_BGR2RGB)
    return img


def _decode_cv2(path: str | Path, content: bytes, color_type: str) -> np.ndarray:
    try:
        img = cv2.imdecode(np.frombuffer(content, np.uint8), COLOR_TYPES[color_type])
    except cv2.error as error:
        raise BrokenImageError(f'broken image {path}: {error.err}') from error
    if img is None:
        raise BrokenImageError(f'broken image {path}: {len(content)} bytes that OpenCV cannot decode')
    return img


def _decode_pillow(path: str | Path, content: bytes, color_type: str) -> np.ndarray:
    from PIL import Image, ImageOps

    try:
        with Image.open(BytesIO(content)) as opened:
            img = (
                opened if color_type.endswith(('unchanged', 'ignore_orientation')) else ImageOps.exif_transpose(opened)
            )
            if color_type != 'unchanged':
                img = img.convert('L' if color_type.startswith('grayscale') else 'RGB')
            pixels = np.array(img)
    except OSError as error:
        raise BrokenImageError(f'broken image {path}: {error}') from error
    return np.ascontiguousarray(pixels[..., ::-1]) if pixels.ndim == 3 and pixels.shape[2] == 3 else pixels


def _truncated(content: bytes) -> str | None:
    """The fault at the end of a truncated file: OpenCV fills missing rows with grey and says nothing."""
    if not content:
        return 'the file is empty'
    if content.startswith(b'\xff\xd8') and b'\xff\xd9' not in content[_start_of_scan(content) :]:
        return f'a JPEG that ends early, after {len(content)} bytes'
    if content.startswith(b'\x89PNG') and b'IEND' not in content[-64:] and b'IEND\xaeB`\x82' not in content:
        return f'a PNG that ends early, after {len(content)} bytes'
    return None


def _start_of_scan(content: bytes) -> int:
    """The end of the header of a JPEG: a thumbnail inside of it has an end marker of its own."""
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF and content[at + 1] != 0xDA:
        at += 2 + int.from_bytes(content[at + 2 : at + 4], 'big')
    return at


def resize_image(
    img: np.ndarray, height: int, width: int, interpolation: str = 'bilinear', backend: str = 'cv2'
) -> np.ndarray:
    """To `height` x `width`; not antialiased with cv2, antialiased with pillow (uint8 only)."""
    if backend == 'cv2':
        return cv2.resize(img, (width, height), interpolation=INTERPOLATIONS[interpolation])
    from PIL import Image

    if img.dtype != np.uint8:
        raise InvalidTypeError(f'backend pillow resizes uint8 images, got {img.dtype}')
    kind = {'area': 'BOX'}.get(interpolation, interpolation.upper())
    return np.asarray(Image.fromarray(img).resize((width, height), Image.Resampling[kind]))


def pad_image(img: np.ndarray, height: int, width: int, value: float | Sequence[float] = 0) -> np.ndarray:
    """To `height` x `width` at the right and at the bottom.

    Raises:
        InvalidValueError: if the image is larger.
    """
    down, right = height - img.shape[0], width - img.shape[1]
    if down < 0 or right < 0:
        raise InvalidValueError(f'cannot pad an image of (height, width) {img.shape[:2]} to {height, width}')
    if not down and not right:
        return img
    return surround(img, (0, 0, right, down), value)


def surround(
    img: np.ndarray,
    sides: tuple[int, int, int, int],
    value: float | Sequence[float] = 0,
    mode: str = 'constant',
) -> np.ndarray:
    """Add pixels at every side.

    Args:
        sides: pixels at the left, top, right and bottom.
        value: of the new pixels, a number or one a channel.
        mode: of `BORDERS`: 'constant' for `value`, or a way to continue the image.

    Raises:
        InvalidValueError: if there are more or fewer values than channels.
    """
    channels = img.shape[2] if img.ndim == 3 else 1
    fill = [float(value)] * channels if isinstance(value, (int, float)) else [float(v) for v in value]
    if len(fill) != channels:
        raise InvalidValueError(f'{len(fill)} padding values for {channels} channels')
    left, top, right, bottom = sides
    return cv2.copyMakeBorder(img, top, bottom, left, right, BORDERS[mode], value=fill)
