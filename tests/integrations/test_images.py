"""Image files: the same ramp in every mode and encoding has the same pixels, and what cannot be known is refused."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from orthoscope import rng
from orthoscope.errors import ConfigError
from orthoscope.integrations.images import image_size, read_image

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)
ALPHA = RAMP[::-1]
DEEP = RAMP.astype(np.uint16) * 257  # the same shares of 65535
SRGB = ImageCms.createProfile("sRGB")


def colors(levels: NDArray[Any], most: int = 255) -> NDArray[np.float64]:
    return np.repeat(levels[..., None] / most, 3, axis=2)


GRAY = colors(RAMP)
ON_WHITE = GRAY * colors(ALPHA) + 1 - colors(ALPHA)


def assert_read(path: Path, expected: NDArray[np.float64], levels: float = 1e-3) -> None:
    """Pixels agree to a number of the 255 levels."""
    found = read_image(path)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=levels / 255)


def assert_refused(path: Path, match: str) -> None:
    with pytest.raises(ConfigError, match=match) as raised:
        read_image(path)
    assert path.name in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def mode(name: str) -> Image.Image:
    """The ramp as an image of a mode."""
    if name in ("I;16", "I;16B"):
        return Image.frombytes(name, RAMP.T.shape, DEEP.astype(">u2" if name == "I;16B" else "<u2").tobytes())
    gray = Image.fromarray(RAMP)
    if name == "PA":
        return gray.convert("P").convert("PA")
    if name == "LAB":
        lab = ImageCms.createProfile("LAB")
        return ImageCms.profileToProfile(gray.convert("RGB"), SRGB, lab, outputMode="LAB") or gray
    return gray.convert(name) if name in ("L", "LA", "P", "RGB") else gray.convert("RGB").convert(name)


def png(levels: NDArray[Any], kind: int, transparent: tuple[int, ...] = (), bits: int = 0, **told: bytes) -> bytes:
    """A PNG file of gray (0), colors (2), gray with alpha (4) or colors with alpha (6), and what else it tells."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width = levels.shape[:2]
    width *= 8 // bits if bits else 1
    head = struct.pack(">IIBBBBB", width, height, bits or 8 * levels.itemsize, kind, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(levels.dtype.newbyteorder(">")).tobytes() for row in levels)
    trns = chunk(b"tRNS", struct.pack(f">{len(transparent)}H", *transparent)) if transparent else b""
    others = b"".join(chunk(name.encode(), data) for name, data in told.items())
    parts = [chunk(b"IHDR", head), others, trns, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(
    data: bytes, bits: int, photometric: int = 1, channels: int = 1, extra: int | None = None, kind: int = 1
) -> bytes:
    """An uncompressed little-endian TIFF file of 16 x 16 pixels."""
    tags: dict[int, list[int]] = {
        256: [16], 257: [16], 258: [bits] * channels, 259: [1], 262: [photometric], 273: [0], 277: [channels],
        278: [16], 279: [len(data)], 339: [kind] * channels,
    }  # fmt: skip
    if extra is not None:
        tags[338] = [extra]
    values = b""
    tags[273] = [8 + 2 + 12 * len(tags) + 4 + sum(2 * len(value) for value in tags.values() if len(value) > 2)]
    entries = b""
    for tag, value in sorted(tags.items()):
        raw = struct.pack(f"<{len(value)}H", *value)
        if len(raw) > 4:
            raw, values = struct.pack("<I", 8 + 2 + 12 * len(tags) + 4 + len(values)), values + raw
        entries += struct.pack("<HHI", tag, 3, len(value)) + raw.ljust(4, b"\0")
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + b"\0\0\0\0" + values + data


# Modes


WRITABLE = {
    "png": ("L", "LA", "P", "RGB", "RGBA", "I;16"),
    "tiff": ("L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I;16B"),
    "jpg": ("L", "RGB", "CMYK", "YCbCr"),  # Pillow inverts CMYK as Adobe does
    "webp": ("RGB", "RGBA"),
    "bmp": ("L", "RGB"),
    "gif": ("L", "P"),
    "avif": ("RGB", "RGBA"),
}


@pytest.mark.parametrize(("ending", "name"), [(ending, name) for ending in WRITABLE for name in WRITABLE[ending]])
def test_a_ramp_is_the_same_in_every_mode(name: str, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"ramp.{ending}"
    mode(name).save(path, **({"lossless": True} if ending == "webp" else {"quality": 100}))
    assert_read(path, GRAY, levels={"YCbCr": 1.01, "LAB": 2.01}.get(name, 1e-3))  # as those round
    assert image_size(path) == (16, 16)


def test_black_and_white(tmp_path: Path) -> None:
    for ending in ("png", "tiff", "bmp"):
        Image.fromarray(RAMP > 99).save(tmp_path / f"one.{ending}")
        assert_read(tmp_path / f"one.{ending}", colors(RAMP > 99, 1))


def test_the_deep_levels_of_png(tmp_path: Path) -> None:
    """Gray keeps its 16 bits; of colors Pillow keeps 8."""
    fine = np.arange(0, 65536, 257 // 2, dtype=np.uint16)[:400].reshape(20, 20)
    path = tmp_path / "deep.png"
    path.write_bytes(png(fine, 0))
    assert_read(path, colors(fine, 65535))
    for kind, channels in ((2, 3), (4, 2), (6, 4)):
        levels = np.stack([DEEP] * channels, axis=2)
        if kind != 2:
            levels[..., -1] = DEEP[::-1]
        path.write_bytes(png(levels, kind))
        assert_read(path, GRAY if kind == 2 else ON_WHITE)
    path.write_bytes(png(np.stack([fine] * 3, axis=2), 2))
    assert_read(path, colors(fine, 65535), levels=1)


@pytest.mark.parametrize(
    ("data", "how", "expected"),
    [
        (DEEP.astype("<u2").tobytes(), {"bits": 16}, GRAY),
        (DEEP.astype("<u2").tobytes(), {"bits": 16, "photometric": 0}, 1 - GRAY),
        (RAMP.tobytes(), {"bits": 8, "photometric": 0}, 1 - GRAY),
        (np.stack([DEEP] * 3, 2).astype("<u2").tobytes(), {"bits": 16, "photometric": 2, "channels": 3}, GRAY),
        (np.stack([RAMP, ALPHA], 2).tobytes(), {"bits": 8, "channels": 2, "extra": 0}, GRAY),
        (np.stack([RAMP, ALPHA], 2).tobytes(), {"bits": 8, "channels": 2, "extra": 2}, ON_WHITE),
        (np.stack([RAMP] * 3 + [ALPHA], 2).tobytes(), {"bits": 8, "photometric": 2, "channels": 4, "extra": 0}, GRAY),
        (b"\x80\x88\x08" * 128, {"bits": 12}, np.full((16, 16, 3), 0x808 / 4095)),  # two pixels in three bytes
    ],
    ids=["gray 16", "white is zero 16", "white is zero 8", "colors 16", "spare", "alpha", "spare color", "gray 12"],
)  # fmt: skip
def test_kinds_of_tiff(data: bytes, how: dict[str, Any], expected: NDArray[np.float64], tmp_path: Path) -> None:
    path = tmp_path / "ramp.tif"
    path.write_bytes(tiff(data, **how))
    assert_read(path, expected)


# Transparency


def test_what_is_transparent_is_white(tmp_path: Path) -> None:
    shown = np.stack([RAMP] * 3 + [ALPHA], axis=2)
    hidden = shown.copy()
    hidden[ALPHA == 0, :3] = rng.stream(0, "garbage").integers(0, 256, ((ALPHA == 0).sum(), 3))
    for pixels, name in ((shown, "shown"), (hidden, "hidden")):
        for ending in ("png", "tiff", "webp"):
            how = {"lossless": True, "exact": True} if ending == "webp" else {}
            Image.fromarray(pixels).save(tmp_path / f"{name}.{ending}", **how)
            assert_read(tmp_path / f"{name}.{ending}", ON_WHITE)
    Image.fromarray(np.stack([RAMP, ALPHA], axis=2), "LA").save(tmp_path / "gray.png")
    assert_read(tmp_path / "gray.png", ON_WHITE)


@pytest.mark.parametrize("extra", [1, 2])
def test_alpha_may_be_multiplied_already(extra: int, tmp_path: Path) -> None:
    levels = RAMP.astype(int) * ALPHA // 255 if extra == 1 else RAMP
    path = tmp_path / "ramp.tif"
    for channels in (2, 4):
        data = np.stack([*[levels] * (channels - 1), ALPHA], axis=2).astype(np.uint8).tobytes()
        path.write_bytes(tiff(data, 8, photometric=1 if channels == 2 else 2, channels=channels, extra=extra))
        assert_read(path, ON_WHITE, levels=2)


def test_one_color_may_be_transparent(tmp_path: Path) -> None:
    expected = GRAY.copy()
    expected[RAMP == 7] = 1
    files = {
        "gray8.png": png(RAMP, 0, (7,)),
        "gray16.png": png(DEEP, 0, (7 * 257,)),
        "colors8.png": png(np.stack([RAMP] * 3, axis=2), 2, (7, 7, 7)),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        assert_read(tmp_path / name, expected)
    for ending in ("png", "gif"):
        mode("P").save(tmp_path / f"palette.{ending}", transparency=7)
        assert_read(tmp_path / f"palette.{ending}", expected)
    mode("P").save(tmp_path / "graded.png", transparency=bytes(range(255, -1, -1)))
    assert_read(tmp_path / "graded.png", GRAY * (1 - GRAY) + GRAY)
    (tmp_path / "colors16.png").write_bytes(png(np.stack([DEEP] * 3, axis=2), 2, (7 * 257,) * 3))
    assert_refused(tmp_path / "colors16.png", "transparent color of 16 bits")


@pytest.mark.parametrize("bits", [2, 4])
def test_a_gray_of_few_bits_may_be_transparent(bits: int, tmp_path: Path) -> None:
    levels = np.arange(8).reshape(2, 4) % 2**bits
    packed = sum(levels[:, k :: 8 // bits] << (8 - bits * (k + 1)) for k in range(8 // bits))
    (tmp_path / "x.png").write_bytes(png(np.asarray(packed, dtype=np.uint8), 0, (2,), bits=bits))
    assert_read(tmp_path / "x.png", colors(np.where(levels == 2, 2**bits - 1, levels), 2**bits - 1))


# Orientation and color


@pytest.mark.parametrize(
    ("ending", "name"),
    [("jpg", "RGB"), ("webp", "RGB"), *((ending, name) for ending in ("png", "tiff") for name in ("RGB", "L", "I;16"))],
)
def test_every_orientation_is_turned_upright(name: str, ending: str, tmp_path: Path) -> None:
    pixels = np.kron(rng.stream(0, "pixels").integers(0, 256, (2, 3, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    upright = pixels / 255 if name == "RGB" else colors(pixels[..., 0])
    stored = pixels if name == "RGB" else pixels[..., 0] if name == "L" else pixels[..., 0].astype(np.uint16) * 257
    turned = {
        1: lambda x: x, 2: lambda x: x[:, ::-1], 3: lambda x: x[::-1, ::-1], 4: lambda x: x[::-1],
        5: lambda x: x.swapaxes(0, 1), 6: lambda x: np.rot90(x, -1),
        7: lambda x: x[::-1, ::-1].swapaxes(0, 1), 8: lambda x: np.rot90(x),
    }  # fmt: skip
    for orientation, turn in turned.items():
        exif = Image.Exif()
        exif[274] = orientation
        path = tmp_path / f"{orientation}.{ending}"
        how = {"jpg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}}.get(ending, {})
        Image.fromarray(stored).save(path, exif=exif, **how)
        assert_read(path, turn(upright), levels=3 if ending == "jpg" else 1e-3)


def test_a_profile_says_what_colors_mean(tmp_path: Path) -> None:
    pixels = rng.stream(0, "pixels").integers(0, 256, (8, 8, 3), dtype=np.uint8)
    own = ImageCms.ImageCmsProfile(SRGB).tobytes()
    swapped = own.replace(b"rXYZ", b"?XYZ").replace(b"bXYZ", b"rXYZ").replace(b"?XYZ", b"bXYZ")
    opaque = np.concatenate([pixels, np.full((8, 8, 1), 255, np.uint8)], axis=2)
    for shown in (pixels, opaque):
        path = tmp_path / "colors.png"
        Image.fromarray(shown).save(path, icc_profile=own)
        assert_read(path, pixels / 255)
        Image.fromarray(shown).save(path, icc_profile=swapped)  # red is what others call blue
        assert_read(path, pixels[..., ::-1] / 255, levels=1.01)
    Image.fromarray(pixels[..., 0]).save(path, icc_profile=swapped)  # not one of gray
    assert_read(path, colors(pixels[..., 0]))
    Image.fromarray(pixels).save(path, icc_profile=b"no profile")
    assert_refused(path, "cannot read .* profile")


def gray_profile(gamma: float) -> bytes:
    """A profile of gray whose light is a power of its levels."""
    white = [struct.pack(">i", round(part * 65536)) for part in (0.9642, 1, 0.8249)]
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"gray\0".ljust(83, b"\0"),
        b"wtpt": b"XYZ \0\0\0\0" + b"".join(white),
        b"kTRC": b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0",
        b"cprt": b"text\0\0\0\0none\0\0\0\0",
    }
    table, content = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", 132 + 12 * len(tags) + len(content), len(data))
        content += data
    head = b"lcms\x02\x10\0\0mntrGRAYXYZ ".ljust(32, b"\0") + b"acsp".ljust(32, b"\0") + b"".join(white)
    head = struct.pack(">I", 128 + len(table + content)) + head
    return head.ljust(128, b"\0") + table + content


@pytest.mark.parametrize("ending", ["png", "tiff"])
def test_a_profile_of_gray_counts_for_8_and_16_bits(ending: str, tmp_path: Path) -> None:
    shares = RAMP / 255
    light = np.where(
        shares > 0.0031308, 1.055 * shares ** (1 / 2.4) - 0.055, 12.92 * shares
    )  # of linear levels in sRGB
    for name in ("L", "I;16"):
        path = tmp_path / f"linear.{ending}"
        mode(name).save(path, icc_profile=gray_profile(1.0))
        found = read_image(path)[1:]  # where it is darkest, the library is coarse
        np.testing.assert_allclose(found, colors(light[1:], 1), rtol=0, atol=1 / 255)


TOLD: list[tuple[dict[str, bytes], bool]] = [
    ({"gAMA": struct.pack(">I", 45455)}, True),
    ({"gAMA": struct.pack(">I", 100000)}, False),
    ({"gAMA": struct.pack(">I", 100000), "sRGB": b"\0"}, True),
    ({"cHRM": struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)}, True),
    ({"cHRM": struct.pack(">8I", 31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)}, False),
    ({"cICP": bytes([1, 13, 0, 1])}, True),
    ({"sRGB": b"\0", "cICP": bytes([9, 16, 0, 1])}, False),
]


@pytest.mark.parametrize(("told", "is_srgb"), TOLD)
def test_colors_that_a_png_describes_otherwise_are_refused(
    told: dict[str, bytes], is_srgb: bool, tmp_path: Path
) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(png(RAMP, 0, **told))
    if is_srgb:
        assert_read(path, GRAY)
    else:
        assert_refused(path, "colors other than sRGB's without a profile")


# Refusals


@pytest.mark.parametrize(
    ("data", "how", "message"),
    [
        ((RAMP / 255).astype("<f4"), {"bits": 32, "kind": 3}, "holds floating-point numbers"),
        (RAMP.astype("<u4"), {"bits": 32}, "holds 32-bit integers"),
        (RAMP.astype("<i4"), {"bits": 32, "kind": 2}, "holds signed integers"),
        (DEEP, {"bits": 16, "kind": 2}, "holds signed integers"),
        (RAMP, {"bits": 8, "kind": 2}, "holds signed integers"),
        ((RAMP / 255).astype("<f8"), {"bits": 64, "kind": 3}, "none of .* of 8 or 16 bits per channel"),
        ((RAMP / 255).astype("<f2"), {"bits": 16, "kind": 3}, "none of .* of 8 or 16 bits per channel"),
    ],
)
def test_numbers_of_unknown_range_are_refused(
    data: NDArray[Any], how: dict[str, Any], message: str, tmp_path: Path
) -> None:
    (tmp_path / "x.tif").write_bytes(tiff(data.tobytes(), **how))
    assert_refused(tmp_path / "x.tif", message)
    with pytest.raises(ConfigError, match=message):
        image_size(tmp_path / "x.tif")


@pytest.mark.parametrize("ending", ["gif", "tiff", "webp", "png", "avif"])
def test_several_images_in_a_file_are_refused(ending: str, tmp_path: Path) -> None:
    frames = [mode("RGB").rotate(90 * turns) for turns in range(3)]
    path = tmp_path / f"x.{ending}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert_refused(path, "holds 3 images; expected one per file")


def test_of_a_camera_s_images_the_first_is_meant(tmp_path: Path) -> None:
    small = mode("RGB").resize((8, 8)).rotate(90)
    mode("RGB").save(tmp_path / "x.jpg", format="MPO", save_all=True, append_images=[small], quality=100)
    assert_read(tmp_path / "x.jpg", GRAY, levels=2.01)


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "gif", "bmp", "tiff", "avif"])
def test_half_an_image_is_refused(ending: str, tmp_path: Path) -> None:
    buffer, path = BytesIO(), tmp_path / f"x.{ending}"
    noise = rng.stream(0, "noise").integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, format="jpeg" if ending == "jpg" else ending)
    for share in (0, 0.2, 0.5, 0.95):
        path.write_bytes(buffer.getvalue()[: int(share * len(buffer.getvalue()))])
        assert_refused(path, "^cannot read the image")


def test_other_files_are_refused_whatever_they_are_called(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    for data in (b"hello", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"<svg/>", b"\x93NUMPY\1\0"):
        path.write_bytes(data)
        assert_refused(path, "cannot read .*: it is none of BMP, ")
    path.write_bytes(png(np.zeros((1, 1), np.uint8), 0).replace(*_size(1, 10000)))
    assert_refused(path, f"more than {Image.MAX_IMAGE_PIXELS} pixels; make it smaller")
    path.write_bytes(png(np.zeros((1, 1), np.uint8), 0).replace(*_size(1, 0)))
    assert_refused(path, "cannot read")
    damaged = bytearray(png(RAMP, 0))
    damaged[60] ^= 255
    path.write_bytes(damaged)
    assert_refused(path, "cannot read")


def _size(before: int, after: int) -> tuple[bytes, bytes]:
    """The header of a PNG file with one size, and with another."""
    heads = [b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0) for side in (before, after)]
    first, second = (head + struct.pack(">I", zlib.crc32(head)) for head in heads)
    return first, second
