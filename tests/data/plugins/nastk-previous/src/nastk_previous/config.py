"""Settings; imports no torch."""

from attrs import field, frozen


@frozen
class CoinConfig:
    candidates: int = field(default=4, metadata={"help": "architectures to try"})
    steps: int = field(default=100, metadata={"help": "training of each"})
