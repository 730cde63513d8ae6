"""Turns a drawn or photographed digit into an image like MNIST's.

MNIST's authors scaled each digit to fit 20 x 20 pixels, keeping its proportions, and laid its centre of mass on the
centre of 28 x 28 (http://yann.lecun.com/exdb/mnist/); its images are light on dark.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from multilabel_pl.errors import InputError

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


def mnist_style(image: Tensor, height: int = 28, width: int = 28) -> Tensor:
    """Finds the digit on a page and turns it into an image like MNIST's.

    The ink may be darker or lighter than the page, anywhere on it and of any size and colour; the page may be noisy,
    and its light may vary smoothly (a shadow with a sharp edge is taken for ink).

    Args:
        image: Grey, uint8 (1, H, W).
        height: Of the result, in pixels.
        width: Of the result, in pixels.

    Returns:
        uint8 (1, height, width), light on black.

    Raises:
        InputError: If the page is blank.
    """
    detail = _shrink(image.float() / 255, DETAIL)  # (1, H, W)
    overview = _shrink(detail, OVERVIEW)[0]  # (h, w)
    page, sign = _page_and_sign(overview)
    ink = (overview - page) * sign
    strokes = _strokes(ink, noise=_noise(overview))
    if not strokes.any():
        raise InputError("no digit found: the page looks blank")
    detailed_page = F.interpolate(page[None, None], size=detail.shape[1:], mode="bilinear")[0]
    digit = _crop((detail - detailed_page) * sign, strokes)
    return _centre(_contrast(_scale(digit, BOX * min(height, width))), height, width)


def _shrink(image: Tensor, longest: int) -> Tensor:
    """Shrinks (C, H, W) to a longer side of at most so many pixels."""
    factor = longest / max(image.shape[1:])
    return _resize(image, factor) if factor < 1 else image


def _scale(image: Tensor, longest: float) -> Tensor:
    return _resize(image, longest / max(image.shape[1:]))


def _resize(image: Tensor, factor: float) -> Tensor:
    size = [max(1, round(side * factor)) for side in image.shape[1:]]
    resized: Tensor = F.interpolate(image[None], size=size, mode="bilinear", antialias=True)[0]
    return resized


def _page_and_sign(grey: Tensor) -> tuple[Tensor, int]:
    """Fits the light on the page, and finds whether ink is darker or lighter.

    The page is a quadratic surface through the border first, which tells ink by its sign; then through all pixels.

    Args:
        grey: (H, W) in 0..1.

    Returns:
        The page (H, W), and -1 where ink is darker than it, else 1.
    """
    height, width = grey.shape
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    terms = torch.stack([torch.ones_like(x), x, y, x * x, x * y, y * y], dim=-1)  # (H, W, 6)
    edge = max(1, round(BORDER * min(height, width)))
    border = torch.ones(height, width, dtype=torch.bool)
    border[edge:-edge, edge:-edge] = False
    residuals = grey - terms @ _fit_quantile(terms[border], grey[border], 0.5)
    sign = -1 if (residuals**3).sum() < 0 else 1  # cubed, so that ink outweighs the many small ones of the page
    quantile = PAGE_QUANTILE if sign < 0 else 1 - PAGE_QUANTILE
    some = slice(None, None, FIT_STRIDE)
    page = terms @ _fit_quantile(terms[some, some].flatten(0, 1), grey[some, some].flatten(), quantile)
    return page, sign


def _fit_quantile(terms: Tensor, values: Tensor, quantile: float) -> Tensor:
    """Returns the coefficients of a quantile regression, by iteratively reweighted least squares.

    Args:
        terms: (N, T).
        values: (N,).
        quantile: The share of values that is to lie below the fit.
    """
    terms, values = terms.double(), values.double()
    ridge = 1e-6 * torch.eye(terms.shape[1])  # a level page, where there are too few pixels to fit all terms
    ridge[0, 0] = 0
    weights = torch.ones_like(values)
    coefficients = torch.zeros_like(terms[0])
    for _ in range(FIT_STEPS):
        weighted = (terms * weights[:, None]).T  # (T, N)
        coefficients = torch.linalg.solve(weighted @ terms + ridge, weighted @ values)
        residuals = values - terms @ coefficients
        weights = torch.where(residuals < 0, 1 - quantile, quantile) / residuals.abs().clamp(min=1 / 255)
    return coefficients.float()


def _noise(grey: Tensor) -> Tensor:
    """Estimates the standard deviation of white noise from the differences of neighbours, most of which are page."""
    differences = grey.diff(dim=1).abs()
    return differences.median() * 1.4826 / math.sqrt(2) if differences.numel() else torch.tensor(0.0)


def _strokes(ink: Tensor, noise: Tensor) -> Tensor:
    """Marks the strokes of ink (H, W): all sure ink, and faint ink connected to it (hysteresis).

    Returns:
        bool (H, W); none of a blank page.
    """
    most = ink.max()
    if most < LEAST_CONTRAST:
        return torch.zeros_like(ink, dtype=torch.bool)
    allowed = (ink > (FAINT * most).maximum(NOISE_SIGMAS * noise)).float()[None]
    strokes = (ink > SURE * most).float()[None] * allowed
    while True:
        grown = F.max_pool2d(strokes, kernel_size=3, stride=1, padding=1) * allowed
        if torch.equal(grown, strokes):
            return strokes[0].bool()
        strokes = grown


def _crop(image: Tensor, where: Tensor) -> Tensor:
    """Crops (1, H, W) to the smallest box around what is marked in a smaller copy (h, w)."""
    box = []
    for dim, size in ((1, image.shape[1]), (0, image.shape[2])):
        marked = where.any(dim).nonzero().flatten()
        pixel = size / where.shape[1 - dim]  # of the smaller copy, in pixels of the image
        box.append(slice(math.floor(marked[0].item() * pixel), math.ceil((marked[-1].item() + 1) * pixel)))
    return image[:, box[0], box[1]]


def _contrast(ink: Tensor) -> Tensor:
    """Spreads ink to 0..1, without what is left of the page."""
    full = ink.quantile(FULL_INK).clamp(min=1e-3)
    return ((ink / full - LEFT_OUT) / (1 - LEFT_OUT)).clamp(0, 1)


def _centre(digit: Tensor, height: int, width: int) -> Tensor:
    """Places a digit (1, h, w) in 0..1 on black, its centre of mass on pixel (14, 14) of 28 x 28, as far as it fits."""
    mass = digit[0] / digit.sum().clamp(min=1e-6)
    corner = []
    for dim, size in ((1, height), (0, width)):
        side = mass.shape[1 - dim]
        centre = float(mass.sum(dim) @ torch.arange(side).float())
        corner.append(min(max(round(size // 2 - centre), 0), size - side))
    top, left = corner
    canvas = torch.zeros(1, height, width)
    canvas[:, top : top + digit.shape[1], left : left + digit.shape[2]] = digit
    return (canvas * 255).round().to(torch.uint8)
