"""The worker's side; imported on the nodes of the cluster."""

from __future__ import annotations

from nastk.workers.errands import Servant


class Actor:
    """Answers the messages of one run, one after another."""

    def __init__(self) -> None:
        self._servant = Servant()

    def answer(self, message: bytes) -> bytes:
        """Return the answer to a message; failures are answers too."""
        return self._servant(message)
