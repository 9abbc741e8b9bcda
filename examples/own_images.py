# A generator for your own images: a folder of pictures, or a folder for each class.
import sys
from pathlib import Path

import numpy as np
from own_space import Small
from PIL import Image, ImageDraw

import nastk


def paint(folder: Path, count: int = 60) -> None:
    """Make a folder with pictures of discs and of boxes."""
    rng = np.random.default_rng(0)
    for shape in ("ellipse", "rectangle"):
        (folder / shape).mkdir(parents=True)
        for i in range(count):
            x, y, side = rng.integers(2, 12), rng.integers(2, 12), rng.integers(10, 18)
            image = Image.new("RGB", (32, 32), "white")
            colour = tuple(int(c) for c in rng.integers(0, 200, 3))
            getattr(ImageDraw.Draw(image), shape)((x, y, x + side, y + side), fill=colour)
            image.save(folder / shape / f"{i}.png")


pictures = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("shapes")
if not pictures.exists():
    paint(pictures)
run = nastk.search(
    Small, "random", pictures, budget="40 steps", dataset__image_size=16,
    strategy__steps=20, final__steps=40, final__samples=200, evaluator__samples=100,
    evaluator__extractor="random-cnn",
)  # fmt: skip
run.sample(64).save("own_images.png")
print(run.path, run.codes, "of", len(run.trials), "candidates")
