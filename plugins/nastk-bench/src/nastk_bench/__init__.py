"""The first tabulated benchmark for the architecture search of GANs, and zero-cost scores."""
