import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from multilabel_pl.data.mnist import ARCHIVES, read_digits
from multilabel_pl.errors import InputError
from multilabel_pl.images.decoding import find_images, read_image

DIGIT = 255 - read_digits(ARCHIVES, "test").images[20, 0].numpy()  # dark on light
COLOUR = np.stack([DIGIT, DIGIT // 2 + 100, 255 - DIGIT // 3], axis=-1)


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
def test_every_mode_is_read_as_what_people_see(mode: str, tmp_path: Path) -> None:
    image = Image.fromarray(DIGIT)
    image = (
        Image.fromarray(DIGIT.astype(np.uint16) * 257)
        if mode == "I;16"
        else image.convert(mode, dither=Image.Dither.NONE)
    )
    expected = torch.from_numpy(DIGIT if mode != "1" else np.where(DIGIT > 127, 255, 0).astype(np.uint8))
    read = read_image(save(tmp_path / "x.tif", image))
    assert torch.equal(read, expected.expand(len(read), -1, -1))


def test_colours_are_kept(tmp_path: Path) -> None:
    image = read_image(save(tmp_path / "x.png", Image.fromarray(COLOUR)))
    assert torch.equal(image, torch.from_numpy(COLOUR).permute(2, 0, 1))


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P"])
def test_white_is_behind_what_is_transparent(mode: str, tmp_path: Path) -> None:
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


def test_of_an_animation_the_first_frame_is_read(tmp_path: Path) -> None:
    second = Image.fromarray(255 - DIGIT)
    path = save(tmp_path / "x.gif", Image.fromarray(DIGIT), save_all=True, append_images=[second])
    assert torch.equal(read_image(path)[0], torch.from_numpy(DIGIT))


def damaged() -> dict[str, bytes]:
    file = io.BytesIO()
    Image.fromarray(COLOUR).save(file, "PNG")
    png = file.getvalue()
    jpeg = io.BytesIO()
    Image.fromarray(COLOUR).save(jpeg, "JPEG")
    return {
        "empty": b"",
        "text": b"hello",
        "truncated PNG": png[: len(png) // 2],
        "truncated JPEG": jpeg.getvalue()[:-200],
        "wrong checksum": png[:45] + bytes([png[45] ^ 1]) + png[46:],
        "header alone": png[:33],
    }


@pytest.mark.parametrize("kind", damaged())
def test_what_is_damaged_is_named(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(damaged()[kind])
    with pytest.raises(InputError, match=r"x\.png"):
        read_image(path)


def test_a_bomb_is_refused_before_it_goes_off(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    file = io.BytesIO()
    Image.new("1", (50_000, 1)).save(file, "PNG")
    header = bytearray(file.getvalue())
    header[20:24] = (50_000).to_bytes(4, "big")  # the height
    header[29:33] = zlib.crc32(header[12:29]).to_bytes(4, "big")
    path.write_bytes(header)
    with pytest.raises(InputError, match=r"x\.png has more than 178,956,970 pixels"):
        read_image(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.png can't be read: No such file"):
        read_image(tmp_path / "nothing.png")


def test_images_are_found(workplace: Path) -> None:
    for name in ("b.png", "a.JPG", "notes.txt", "deeper/c.webp"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    assert find_images(".") == [Path("a.JPG"), Path("b.png")]
    assert find_images(workplace / "notes.txt") == [workplace / "notes.txt"]  # asked for by name
    assert find_images("**/*.*") == [Path("a.JPG"), Path("b.png"), Path("deeper/c.webp"), Path("notes.txt")]
    assert find_images(["b.png", "deeper"]) == [Path("b.png"), Path("deeper/c.webp")]


@pytest.mark.parametrize("path", ["nowhere", "*.png", "."])
def test_where_no_image_is_one_is_told_so(path: str, workplace: Path) -> None:
    with pytest.raises(InputError, match="there is no image at"):
        find_images(path)


def test_no_path_is_no_image() -> None:
    with pytest.raises(InputError, match="name an image"):
        find_images([])


def test_a_file_whose_name_is_a_pattern_is_found(workplace: Path) -> None:
    Path("scan[1].png").touch()
    assert find_images("scan[1].png") == [Path("scan[1].png")]
