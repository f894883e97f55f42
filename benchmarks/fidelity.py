"""How faithfully fine patterns are shrunk: RMS error to an ideal low-pass, of ours and of area averaging.

    .venv/bin/python -m benchmarks.fidelity

Screentone, lines and dots are what line art and manga are made of, and what a bad filter turns into moiré. The ideal
keeps every frequency that 512 pixels can show and nothing else; a Fourier transform gives it. Values are of 255.
"""

import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pyvips
from PIL import Image

from danbooru_pipeline.images import inspect_image
from danbooru_pipeline.images.decode import shrink_image

_SMALL = 512
_SIDES = (1024, 1300, 2048, 2900)
Grey = npt.NDArray[np.float64]


def patterns(side: int) -> dict[str, Grey]:
    """Name -> a picture of one channel, 0 to 255."""
    y, x = np.mgrid[0:side, 0:side]
    far = np.hypot(x - side / 2, y - side / 2)
    tone = np.cos(2 * np.pi * (x + y) / 8.5) + np.cos(2 * np.pi * (x - y) / 8.5)
    shapes = {
        "1-px checkerboard": (x + y) % 2 == 0,
        "screentone, 60 lines": tone > 0.6,
        "1-px lines, a little oblique": (x + y // 23) % 12 == 0,
        "2-px circles": far % 24 < 2,
        "1-px dots": (x % 9 == 0) & (y % 9 == 0),
        "zone plate": np.cos(np.pi * far**2 / side) > 0,
    }
    return {name: np.where(shape, 0.0, 255.0) for name, shape in shapes.items()}


def low_pass(picture: Grey) -> Grey:
    """Everything that the small picture can show, and nothing else."""
    side, half = picture.shape[0], _SMALL // 2
    spectrum = np.fft.fftshift(np.fft.fft2(picture))
    middle = side // 2
    kept = spectrum[middle - half : middle + half, middle - half : middle + half]
    small: Grey = np.fft.ifft2(np.fft.ifftshift(kept)).real * (_SMALL / side) ** 2
    # The centre of a small pixel lies half a small pixel inside, that of a large one half a large one.
    return _moved(small, 0.5 - 0.5 * _SMALL / side)


def _moved(picture: Grey, by: float) -> Grey:
    """The picture, moved by a fraction of a pixel."""
    turns = np.exp(2j * np.pi * np.fft.fftfreq(_SMALL) * by)
    moved: Grey = np.fft.ifft2(np.fft.fft2(picture) * turns[:, np.newaxis] * turns).real
    return moved


def ours(picture: Grey) -> Grey:
    """As a release has it, before its JPEG."""
    image: Any = pyvips.Image.new_from_array(np.repeat(picture[..., np.newaxis], 3, axis=2).astype(np.uint8))
    data = image.copy(interpretation="srgb").pngsave_buffer(compression=1)
    small, _ = shrink_image(data, inspect_image(data), size=_SMALL)
    return np.asarray(small.numpy()[..., 0], float)


def averaged(picture: Grey) -> Grey:
    """The mean of the area under each small pixel, as many tools do."""
    image = Image.fromarray(picture.astype(np.uint8)).resize((_SMALL, _SMALL), Image.Resampling.BOX)
    return np.asarray(image, float)


def lanczos(picture: Grey) -> Grey:
    """Lanczos3 of the whole picture, as slow as it is."""
    image = Image.fromarray(picture.astype(np.float32)).resize((_SMALL, _SMALL), Image.Resampling.LANCZOS)
    return np.clip(np.asarray(image, float), 0, 255)


def error(made: Grey, ideal: Grey) -> float:
    """RMS, without the rim, where the transform wraps around."""
    inside = slice(16, -16)
    return float(np.sqrt(np.mean((made - np.clip(ideal, 0, 255))[inside, inside] ** 2)))


def main() -> int:
    """Print the table: the mean over all sides."""
    columns: dict[str, Any] = {"ours": ours, "Lanczos3": lanczos, "area averaging": averaged}
    print(f"| pattern | {' | '.join(columns)} |\n|---|{'---:|' * len(columns)}")
    found: dict[str, dict[str, list[float]]] = {}
    for side in _SIDES:
        for name, picture in patterns(side).items():
            ideal = low_pass(picture)
            for column, make in columns.items():
                found.setdefault(name, {}).setdefault(column, []).append(error(make(picture), ideal))
    for name, row in found.items():
        print(f"| {name} | {' | '.join(f'{np.mean(row[column]):.2f}' for column in columns)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
