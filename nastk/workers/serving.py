"""The main loop of a worker process: messages in on stdin, answers out on stdout."""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from typing import IO

from nastk.workers.errands import Servant
from nastk.workers.processes import read_frame, write_frame


def serve() -> None:
    """Answer messages until stdin ends, then end at once, in the middle of a candidate too.

    Whatever prints goes to stderr. SIGINT and SIGTERM are for the driver to obey, which a terminal
    or a batch system sends to all processes alike.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    inbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin.buffer, inbox), daemon=True).start()
    servant = Servant()
    while True:
        write_frame(answers, servant(inbox.get()))


def _read(stream: IO[bytes], inbox: queue.SimpleQueue[bytes]) -> None:
    while (message := read_frame(stream)) is not None:
        inbox.put(message)
    os._exit(0)  # the driver is gone: nobody waits for what is being done
