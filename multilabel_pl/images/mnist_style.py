"""Turns a drawn or photographed digit into an image like MNIST's.

MNIST's authors scaled each digit to fit 20 x 20 pixels, keeping its proportions, and laid its centre of mass on the
centre of 28 x 28 (http://yann.lecun.com/exdb/mnist/); its images are light on dark.

NumPy and Pillow are all that this file needs, as `export` writes it beside a program that needs no more.
"""

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Grey: TypeAlias = NDArray[np.float32]  # an image (H, W) in 0..1
Marks: TypeAlias = NDArray[np.bool_]  # pixels of an image, (H, W)

BOX = 20 / 28  # the digit's longer side, as a share of the image's shorter one
OVERVIEW, DETAIL = 128, 512  # pixels of the longer side, to find the digit and to crop it
BORDER = 0.05  # of the shorter side: mostly page, little ink
PAGE_QUANTILE = 0.8  # the page is brighter than ink, or darker: its level is near that quantile of the pixels
FIT_STEPS = 6
FIT_STRIDE = 2  # a quarter of the pixels suffices for the light on the page
LEAST_CONTRAST = 0.05  # of ink to page, in the range of pixels; with less, the page is blank
NOISE_SIGMAS = 5  # how far ink must be above the noise
FAINT, SURE = 0.2, 0.5  # ink, as a share of the darkest: strokes are faint ink connected to sure ink
FULL_INK = 0.98  # quantile of a digit's pixels that becomes white
LEFT_OUT = 0.1  # share of full ink that becomes black


def mnist_style(image: NDArray[np.uint8], height: int = 28, width: int = 28) -> NDArray[np.uint8]:
    """Finds the digit on a page and turns it into an image like MNIST's.

    The ink may be darker or lighter than the page, anywhere on it and of any size and colour; the page may be noisy,
    and its light may vary smoothly (a shadow with a sharp edge is taken for ink).

    Args:
        image: Grey, uint8 (H, W).
        height: Of the result, in pixels.
        width: Of the result, in pixels.

    Returns:
        uint8 (height, width), light on black.

    Raises:
        ValueError: If the page is blank.
    """
    detail = _shrink(image.astype(np.float32) / np.float32(255), DETAIL)
    overview = _shrink(detail, OVERVIEW)
    page, sign = _page_and_sign(overview)
    ink = (overview - page) * sign
    strokes = _strokes(ink, _noise(overview))
    if not strokes.any():
        raise ValueError("no digit found: the page looks blank")
    detailed_page = _resize(page, *detail.shape)
    digit = _crop((detail - detailed_page) * sign, strokes)
    return _centre(_contrast(_scale(digit, BOX * min(height, width))), height, width)


def _shrink(image: Grey, longest: int) -> Grey:
    """Shrinks an image to a longer side of at most so many pixels."""
    return _scale(image, longest) if max(image.shape) > longest else image


def _scale(image: Grey, longest: float) -> Grey:
    factor = longest / max(image.shape)
    height, width = (max(1, round(side * factor)) for side in image.shape)
    return _resize(image, height, width)


def _resize(image: Grey, height: int, width: int) -> Grey:
    """Resizes an image, with antialiasing."""
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def _page_and_sign(grey: Grey) -> tuple[Grey, int]:
    """Fits the light on the page, and finds whether ink is darker or lighter.

    The page is a quadratic surface through the border first, which tells ink by its sign; then through all pixels.

    Returns:
        The page (H, W), and -1 where ink is darker than it, else 1.
    """
    height, width = grey.shape
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y])  # (6, H, W)
    edge = max(1, round(BORDER * min(height, width)))
    border = np.ones(grey.shape, dtype=bool)
    border[edge:-edge, edge:-edge] = False
    residuals = (grey - _surface(terms, _fit_quantile(terms[:, border], grey[border], 0.5))).ravel()
    # Cubed, so that ink outweighs the many small residuals of the page.
    sign = -1 if residuals @ residuals**2 < 0 else 1
    quantile = PAGE_QUANTILE if sign < 0 else 1 - PAGE_QUANTILE
    some = grey[::FIT_STRIDE, ::FIT_STRIDE].ravel()
    coefficients = _fit_quantile(terms[:, ::FIT_STRIDE, ::FIT_STRIDE].reshape(len(terms), -1), some, quantile)
    return _surface(terms, coefficients).astype(np.float32), sign


def _surface(terms: NDArray[np.float64], coefficients: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.tensordot(coefficients, terms, axes=1)


def _fit_quantile(terms: NDArray[np.float64], values: Grey, quantile: float) -> NDArray[np.floating]:
    """Returns the coefficients of a quantile regression, by iteratively reweighted least squares.

    Args:
        terms: (T, N).
        values: (N,).
        quantile: The share of values that is to lie below the fit.
    """
    ridge = 1e-6 * np.eye(len(terms))  # a level page, where there are too few pixels to fit all terms
    ridge[0, 0] = 0
    weights = np.ones(len(values))
    coefficients: NDArray[np.floating] = np.zeros(len(terms))
    for _ in range(FIT_STEPS):
        weighted = terms * weights
        coefficients = np.linalg.solve(weighted @ terms.T + ridge, weighted @ values)
        residuals = values - coefficients @ terms
        weights = np.where(residuals < 0, 1 - quantile, quantile) / np.abs(residuals).clip(min=1 / 255)
    return coefficients


def _noise(grey: Grey) -> float:
    """Estimates the standard deviation of white noise from the differences of neighbours, most of which are page."""
    differences = np.abs(np.diff(grey, axis=1))
    return float(np.median(differences)) * 1.4826 / math.sqrt(2) if differences.size else 0.0


def _strokes(ink: Grey, noise: float) -> Marks:
    """Marks the strokes of ink: all sure ink, and faint ink connected to it (hysteresis); none of a blank page."""
    most = ink.max()
    if most < LEAST_CONTRAST:
        return np.zeros(ink.shape, dtype=bool)
    allowed = ink > max(FAINT * most, NOISE_SIGMAS * noise)
    strokes: Marks = (ink > SURE * most) & allowed
    while (grown := _with_neighbours(strokes) & allowed).sum() > strokes.sum():
        strokes = grown
    return strokes


def _with_neighbours(marks: Marks) -> Marks:
    padded = np.pad(marks, 1)
    rows = padded[:-2] | padded[1:-1] | padded[2:]
    grown: Marks = rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]
    return grown


def _crop(image: Grey, where: Marks) -> Grey:
    """Crops an image to the smallest box around what is marked in a smaller copy of it."""
    box = []
    for axis in (0, 1):
        marked = np.flatnonzero(where.any(axis=1 - axis))
        pixel = image.shape[axis] / where.shape[axis]  # of the smaller copy, in pixels of the image
        box.append(slice(math.floor(marked[0] * pixel), math.ceil((marked[-1] + 1) * pixel)))
    return image[box[0], box[1]]


def _contrast(ink: Grey) -> Grey:
    """Spreads ink to 0..1, without what is left of the page."""
    full = max(float(np.quantile(ink, FULL_INK)), 1e-3)
    return ((ink / full - LEFT_OUT) / (1 - LEFT_OUT)).clip(0, 1)


def _centre(digit: Grey, height: int, width: int) -> NDArray[np.uint8]:
    """Places a digit on black, its centre of mass on pixel (14, 14) of 28 x 28, as far as it fits."""
    mass = digit / max(digit.sum(), 1e-6)
    corner = []
    for axis, size in enumerate((height, width)):
        side = digit.shape[axis]
        centre = mass.sum(axis=1 - axis) @ np.arange(side)
        corner.append(min(max(round(size // 2 - centre), 0), size - side))
    top, left = corner
    canvas = np.zeros((height, width), dtype=np.float32)
    canvas[top : top + digit.shape[0], left : left + digit.shape[1]] = digit
    return (canvas * 255).round().astype(np.uint8)
