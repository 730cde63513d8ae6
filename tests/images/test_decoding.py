import io
import os
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from multilabel_pl.data.mnist import ARCHIVES, read_digits
from multilabel_pl.errors import InputError
from multilabel_pl.images.decoding import find_images, pixels_of, read_image
from tests.images.photograph import odd_metadata

DIGIT = 255 - read_digits(ARCHIVES, "test").images[20, 0].numpy()  # dark on light
COLOUR = np.stack([DIGIT, DIGIT // 2 + 100, 255 - DIGIT // 3], axis=-1)
FINE = {"quality": 95, "subsampling": 0}  # of a JPEG; others ignore it


def save(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("ending", ["png", "webp", "bmp", "gif", "tif"])
def test_a_grey_image_is_read_in_every_format(ending: str, tmp_path: Path) -> None:
    options = {"lossless": True} if ending == "webp" else {}
    path = save(tmp_path / f"x.{ending}", Image.fromarray(DIGIT), **options)
    image = read_image(path)
    assert image.dtype == torch.uint8
    assert len(image) in (1, 3)  # WebP and GIF have no grey
    assert all(torch.equal(channel, torch.from_numpy(DIGIT)) for channel in image)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "I;16"])
def test_every_mode_is_read_as_people_see_it(mode: str, tmp_path: Path) -> None:
    image = Image.fromarray(DIGIT)
    image = (
        Image.fromarray(DIGIT.astype(np.uint16) * 257)
        if mode == "I;16"
        else image.convert(mode, dither=Image.Dither.NONE)
    )
    expected = torch.from_numpy(DIGIT if mode != "1" else np.where(DIGIT > 127, 255, 0).astype(np.uint8))
    read = read_image(save(tmp_path / "x.tif", image))
    assert torch.equal(read, expected.expand(len(read), -1, -1))


@pytest.mark.parametrize("most", [1, 255])
def test_floating_point_pixels_are_refused(most: int, workplace: Path) -> None:
    image = Image.fromarray(DIGIT.astype(np.float32) * most / 255)
    remedy = "floating-point pixels have no known range: save the image with 8 or 16 bits a channel"
    with pytest.raises(InputError, match=f"^x.tif: {remedy}$"):
        read_image(save(Path("x.tif"), image))
    with pytest.raises(InputError, match=f"^{remedy}$"):
        pixels_of(image, "white")


def test_colours_are_kept(tmp_path: Path) -> None:
    image = read_image(save(tmp_path / "x.png", Image.fromarray(COLOUR)))
    assert torch.equal(image, torch.from_numpy(COLOUR).permute(2, 0, 1))


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P"])
def test_transparent_pixels_are_white(mode: str, tmp_path: Path) -> None:
    image = Image.new("RGBA", (5, 4), (0, 0, 0, 0))
    image.putpixel((2, 1), (10, 10, 10, 255))
    read = read_image(save(tmp_path / "x.png", image.convert(mode)))
    assert read.shape == (3, 4, 5)
    assert read[:, 0, 0].tolist() == [255, 255, 255]
    assert read[:, 1, 2].tolist() == [10, 10, 10]


def test_an_image_is_turned_as_its_camera_was_held(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown rotated clockwise by 90 degrees
    path = save(tmp_path / "x.png", Image.fromarray(DIGIT).rotate(90, expand=True), exif=exif)
    assert torch.equal(read_image(path)[0], torch.from_numpy(DIGIT))


@pytest.mark.parametrize("ending", ["png", "tif"])  # Pillow turns a TIFF itself
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_as_pillow_does(orientation: int, ending: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / f"x.{ending}", Image.fromarray(COLOUR[:20]), exif=exif)
    turned = ImageOps.exif_transpose(Image.open(path))
    assert turned.size == ((28, 20) if orientation < 5 else (20, 28))
    assert torch.equal(read_image(path), torch.from_numpy(np.array(turned)).permute(2, 0, 1))


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
def test_odd_metadata_do_no_harm(ending: str, tmp_path: Path) -> None:
    sideways = Image.fromarray(COLOUR[:20]).rotate(90, expand=True)
    path = save(tmp_path / f"x.{ending}", sideways, exif=odd_metadata(6), lossless=ending == "webp", **FINE)
    image = read_image(path)
    upright = torch.from_numpy(COLOUR[:20]).permute(2, 0, 1)
    assert image.shape == upright.shape
    assert (image.float() - upright.float()).abs().mean() < 5
    assert torch.equal(pixels_of(Image.open(path), "white"), image)


@pytest.mark.parametrize("exif", [b"", b"MM\0*", b"junk", odd_metadata(6)[6:20]], ids=str)
def test_damaged_metadata_say_nothing_of_an_image(exif: bytes, tmp_path: Path) -> None:
    path = save(tmp_path / "x.jpg", Image.fromarray(COLOUR[:20]), exif=b"Exif\0\0" + exif, dpi=(72, 72))
    assert read_image(path).shape == (3, 20, 28)


def test_of_an_animation_the_first_frame_is_read(tmp_path: Path) -> None:
    second = Image.fromarray(255 - DIGIT)
    path = save(tmp_path / "x.gif", Image.fromarray(DIGIT), save_all=True, append_images=[second])
    assert torch.equal(read_image(path)[0], torch.from_numpy(DIGIT))


def encoded(kind: str, image: Image.Image | None = None) -> bytes:
    file = io.BytesIO()
    (image or Image.fromarray(COLOUR)).save(file, kind)
    return file.getvalue()


def bomb() -> bytes:
    """Returns a PNG of a few bytes whose header says that it is 50,000 pixels high and wide."""
    content = bytearray(encoded("PNG", Image.new("1", (50_000, 1))))
    content[20:24] = (50_000).to_bytes(4, "big")  # the height
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


PNG, JPEG = encoded("PNG"), encoded("JPEG")
HAS_AVIF = ".avif" in Image.registered_extensions()  # which Pillow has since 11.3, unless it was built without
NO_IMAGE = "x.png is not an image, or is damaged"
DAMAGED = {
    "empty": (b"", NO_IMAGE),
    "text": (b"not found", NO_IMAGE),
    "PostScript, which would run": (encoded("EPS"), NO_IMAGE),
    "truncated PNG": (PNG[: len(PNG) // 2], "x.png "),
    "truncated JPEG": (JPEG[:-200], "x.png "),
    "wrong checksum": (PNG[:45] + bytes([PNG[45] ^ 1]) + PNG[46:], "x.png "),
    "header alone": (PNG[:33], NO_IMAGE),
    "a kind of DDS that is unknown": (b"DDS " + struct.pack("<4L", 124, 0, 9, 9) + bytes(108), "x.png is damaged: Un"),
    "more pixels than memory": (bomb(), "x.png has more than 100,000,000 pixels"),
    **({"damaged AVIF": (encoded("AVIF").replace(b"av01", b"free"), "x.png is damaged: Fa")} if HAS_AVIF else {}),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_file_that_is_no_sound_image_is_named_with_the_reason(kind: str, workplace: Path) -> None:
    content, message = DAMAGED[kind]
    Path("x.png").write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_image(Path("x.png"))
    assert str(caught.value).startswith(message)


def test_a_large_jpeg_is_decoded_at_a_part_of_its_size(tmp_path: Path) -> None:
    image = Image.fromarray(COLOUR).resize((800, 600))
    path = save(tmp_path / "x.jpg", image)
    assert read_image(path).shape == (3, 600, 800)
    assert read_image(path, sufficient_size=100).shape == (3, 150, 200)
    assert read_image(save(tmp_path / "x.png", image), sufficient_size=100).shape == (3, 600, 800)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.png can't be read: No such file"):
        read_image(tmp_path / "nothing.png")


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_not_a_file_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    path = Path("/dev/zero") if kind == "device" else tmp_path / "image.png"
    if kind == "pipe":
        os.mkfifo(path)
    if kind == "folder":
        path.mkdir()
    with pytest.raises(InputError, match=f"^{re.escape(str(path))} is not an image"):
        read_image(path)


def test_an_image_of_too_many_pixels_is_not_decoded(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.new("1", (10_001, 10_000)).save(path)
    with pytest.raises(
        InputError, match=r"large\.png has more than 100,000,000 pixels: shrink it, or raise max_pixels$"
    ):
        read_image(path)
    Image.new("L", (20, 10)).save(path)
    assert read_image(path, max_pixels=200).shape == (1, 10, 20)
    with pytest.raises(InputError, match="more than 199 pixels"):
        read_image(path, max_pixels=199)


def test_images_are_found(workplace: Path) -> None:
    for name in ("b.png", "a.JPG", "notes.txt", "deeper/c.webp", "._b.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    assert find_images(["."]) == [Path("a.JPG"), Path("b.png")]
    assert find_images([workplace / "notes.txt"]) == [workplace / "notes.txt"]  # asked for by name
    assert find_images(["**/*.*"]) == [Path("a.JPG"), Path("b.png"), Path("deeper/c.webp"), Path("notes.txt")]
    assert find_images(["b.png", "deeper"]) == [Path("b.png"), Path("deeper/c.webp")]


@pytest.mark.parametrize("path", ["nowhere", "*.png", ".", "a\0b", "a\0*", "x" * 256])
def test_a_path_without_an_image_is_named(path: str, workplace: Path) -> None:
    with pytest.raises(InputError, match=rf"^there is no image at {re.escape(path)}: .*a pattern such as '"):
        find_images([path])


def test_folders_in_a_folder_are_left_out_with_a_note(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("scans/a.png", "scans/.hidden/b.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    find_images(["scans"])
    assert capsys.readouterr().err == ""
    Path("scans/more").mkdir()
    find_images(["scans"])
    assert capsys.readouterr().err.startswith("note: the folders in scans are left out: a pattern such as 'scans/**/*")


def test_missing_files_can_be_kept(workplace: Path) -> None:
    Path("a.png").touch()
    assert find_images(["a.png", "gone.png"], keep_missing=True) == [Path("a.png"), Path("gone.png")]
    assert find_images(["\0*"], keep_missing=True) == [Path("\0*")]  # no pattern, as no name has that
    long = Path("x" * 256)
    assert find_images([long], keep_missing=True) == [long]
    with pytest.raises(InputError, match=r"^there is no image at b\*"):
        find_images(["b*"], keep_missing=True)


def test_a_file_whose_name_is_a_pattern_is_found(workplace: Path) -> None:
    Path("scan[1].png").touch()
    assert find_images(["scan[1].png"]) == [Path("scan[1].png")]
