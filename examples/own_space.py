# Search a space of your own in one file: no plugin, any strategy. Also works in a notebook.
import numpy as np
from torch import nn

import nastk


class Small(nastk.SearchSpace):
    """Eighteen generators, from a latent of 16 numbers to an image."""

    input = nastk.InputSpec("latent", (16,))
    decisions = (
        nastk.Decision("up", ("nearest", "bilinear", "deconv"), kind="up"),
        nastk.Decision("act", ("relu", "leaky", "tanh")),
        nastk.Decision("kernel", ("3", "5"), kind="kernel"),
    )

    def generator(self, pick, blocks=None):
        channels, height, width = self.task.image
        up = pick(
            "up",
            nearest=lambda: nn.Upsample(scale_factor=2),
            bilinear=lambda: nn.Upsample(scale_factor=2, mode="bilinear"),
            deconv=lambda: nn.ConvTranspose2d(16, 16, 4, 2, 1),
        )
        act = pick("act", relu=nn.ReLU, leaky=nn.LeakyReLU, tanh=nn.Tanh)
        out = pick("kernel", {k: lambda k=int(k): nn.Conv2d(16, channels, k, padding=k // 2)
                              for k in ("3", "5")})  # fmt: skip
        start = nn.Linear(16, 16 * height * width // 4)
        shape = nn.Unflatten(1, (16, height // 2, width // 2))
        return nn.Sequential(start, shape, up, act, out, nn.Tanh())

    def discriminator(self, pick, blocks=None):
        channels = self.task.image[0]
        features = 16 * int(np.prod(self.task.image[1:])) // 4
        conv = nn.Conv2d(channels, 16, 3, 2, 1)
        return nn.Sequential(conv, nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(features, 1))


if __name__ == "__main__":
    run = nastk.search(
        Small, strategy="tpe", data="digits", budget="60 steps", strategy__steps=20,
        final__steps=60, evaluator__samples=100, final__samples=500,
    )  # fmt: skip
    print(run.codes, dict(run.architecture.choices))
    print("extractor-FD", run.metrics["extractor_fd"].value)
    run.sample(64).save("own_space.png")
