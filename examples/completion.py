# Complete masked images: the space stasgan maps an image with a hidden square to a whole one.
import nastk

run = nastk.search(
    "stasgan", "random", "digits", budget="40 steps", space__generator_width=8,
    space__discriminator_width=8, strategy__steps=20, trainer__batch_size=16,
    trainer__mask_size=6, final__steps=40,
    evaluator__samples=100, evaluator__extractor="random-cnn", final__samples=200,
)  # fmt: skip
pictures = run.sample(12)  # masked, completed, original, and the same of the next
pictures.save("completion.png")
masked, completed, original = (pictures.images[i::3].float() for i in range(3))
hidden = (masked - original).abs() > 0
print("hidden pixels differ by", (completed - original).abs()[hidden].mean().item(), "of 255")
