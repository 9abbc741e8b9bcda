"""nastk: neural architecture search for generative adversarial networks."""

from nastk.hookspecs import hookimpl

__all__ = ["__version__", "hookimpl"]
__version__ = "0.1.0"
