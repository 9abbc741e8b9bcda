# An image folder as data hubs lay it out: train/, validation/ and test/ with metadata.jsonl.
import json
from pathlib import Path

import numpy as np
from own_space import Small
from PIL import Image
from sklearn.datasets import load_digits

import nastk

root = Path("digits-folder")
digits, labels = load_digits(return_X_y=True)
parts = np.split(np.arange(len(digits)), [1200, 1400])
for name, members in zip(("train", "validation", "test"), parts, strict=True):
    (root / name).mkdir(parents=True, exist_ok=True)
    lines = []
    for i in members:
        pixels = (digits[i].reshape(8, 8) * 15.9).astype(np.uint8)
        Image.fromarray(pixels).save(root / name / f"{i}.png")
        lines.append(json.dumps({"file_name": f"{i}.png", "label": int(labels[i])}))
    (root / name / "metadata.jsonl").write_text("\n".join(lines))

run = nastk.search(
    Small, "random", root, budget="60 steps", dataset__image_size=16, dataset__labels=0.1,
    strategy__steps=20, final__steps=60, evaluator__samples=100,
    evaluator__extractor="random-cnn", final__samples=200,
)  # fmt: skip
card = run.metrics["extractor_fd"].card
print("measured against", card.n_real, "images of the folder", card.split)
