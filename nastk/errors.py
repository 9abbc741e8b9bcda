"""Every error nastk raises on purpose.

::

    NastkError
    ├── UserError            the user can mend it: one line, exit code 2
    │   ├── ConfigError      a flag, variable or file holds a wrong or unknown value
    │   ├── PluginError      a component is missing, broken, or its name is held twice
    │   ├── SpaceError       an architecture, option or code that the space does not have
    │   ├── DataError        a data set is missing, malformed or used against its rules
    │   ├── RunFolderError   a run folder is missing, locked, damaged or does not match
    │   │   └── DiskError    the disk refuses: full, read-only, not permitted, failing
    │   └── PairError        two components that cannot work together
    ├── TrialError           one candidate failed; recorded as data, the search goes on
    └── ShapeError           a tensor of the wrong shape reached a public function

``NastkError`` itself is a failure of the run: exit code 1.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class NastkError(Exception):
    """A failure with one line of what, where, got and expected, and a hint of what to do.

    Args:
        message: one line without a trailing full stop.
        hint: what the user can do about it, one line; may be empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        message, hint = _short(message), _short(hint)
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


MAX_LENGTH = 1500
"""Characters of a message; a forged file may put thousands into a name."""


def _short(text: str) -> str:
    keep = MAX_LENGTH // 2
    return text if len(text) <= MAX_LENGTH else f"{text[:keep]} … {text[-keep:]}"


class UserError(NastkError):
    """Something the user can mend; the command line ends with exit code 2."""


class ConfigError(UserError):
    """A flag, environment variable or file holds a wrong or unknown value."""


class PluginError(UserError):
    """A component is missing, broken, or its name is held by two distributions."""


class SpaceError(UserError):
    """An architecture, option or code that the search space does not have."""


class DataError(UserError):
    """A data set is missing, malformed, or used against its rules."""


class RunFolderError(UserError):
    """A run folder is missing, locked by another process, damaged, or does not match."""


class DiskError(RunFolderError):
    """The disk refuses a write: full, read-only, not permitted, failing; nothing else is wrong."""


class PairError(UserError):
    """Two components that cannot work together; said before the run starts."""


class TrialError(NastkError):
    """One candidate failed while it was trained or measured.

    Args:
        status: ``diverged``, ``collapsed``, ``out-of-memory``, ``timed-out`` or ``crashed``.
    """

    def __init__(self, message: str, status: str = "crashed", hint: str = "") -> None:
        super().__init__(message, hint)
        self.status = status


class ShapeError(NastkError):
    """A tensor of the wrong shape reached a public function."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a hint that names the known word closest to ``word``, or lists the known words."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"known: {', '.join(names)}" if names else "none are known"
