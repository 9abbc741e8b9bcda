# Draw 64 images of an exported generator: onnx_sample.py MODEL SHEET [PICTURE to complete]
import sys

import numpy as np
import onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
(channels, *size), random = session.get_inputs()[0].shape[1:], np.random.default_rng(0)
if not size:  # it makes images of latents
    fed = random.standard_normal((64, channels), np.float32)
else:  # it completes images: one picture, in each copy another square hidden
    picture = Image.open(sys.argv[3]).convert("L" if channels == 1 else "RGB").resize(size[::-1])
    fed = np.float32([picture] * 64).reshape(64, *size, channels).transpose(0, 3, 1, 2) / 127.5 - 1
    side = round(min(size) * 10 / 32)
    for image, (y, x) in zip(fed, random.integers(0, min(size) - side, (64, 2)), strict=True):
        image[:, y : y + side, x : x + side] = 0
made = np.rint(session.run(None, {"input": fed})[0] * 127.5 + 127.5).clip(0, 255).astype(np.uint8)
sheet = np.concatenate(np.concatenate(made.reshape(8, 8, *made.shape[1:]), 2), 2)
Image.fromarray(sheet.transpose(1, 2, 0).squeeze()).save(sys.argv[2])
