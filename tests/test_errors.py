from __future__ import annotations

from nastk.errors import MAX_LENGTH, NastkError, SpaceError


def test_a_message_keeps_its_beginning_and_end_however_long_a_name_in_it_is() -> None:
    error = SpaceError(f"no space is named '{'a' * 70_000}' here", "b" * 70_000)
    assert len(str(error)) < 2 * MAX_LENGTH + 20
    assert error.message.startswith("no space is named 'aaa")
    assert error.message.endswith("aaa' here")
    assert str(NastkError("short", "hint")) == "short (hint)"
