"""Semi-supervised classification: a GAN's class head against its baselines, label by label."""
