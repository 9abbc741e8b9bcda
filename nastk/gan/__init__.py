"""The adversarial training loop: losses, inputs, averages, health."""
