"""Settings; imports no torch."""

from attrs import field, frozen
from attrs.validators import ge


@frozen
class Config:
    """How the hill is climbed."""

    candidates: int = field(
        default=16, validator=ge(1), metadata={"help": "architectures that are trained"}
    )
    steps: int = field(default=400, validator=ge(1), metadata={"help": "training of each"})
    patience: int = field(
        default=6, validator=ge(1), metadata={"help": "changes in vain before a fresh start"}
    )
