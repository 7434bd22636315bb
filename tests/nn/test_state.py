"""Tests of minivit/nn/state.py."""

import numpy as np
import pytest

from minivit.nn.state import StateError, check_state, nearest


def test_a_state_that_fits_passes():
    check_state("Model", {"a": (2,), "b": ()}, {"b": np.float32(1), "a": np.zeros(2)})
    check_state("Model", {"a": (2,)}, {"zzz": np.zeros(1)}, strict=False)


def test_a_state_error_reads_as_text_and_is_a_key_error():
    with pytest.raises(KeyError) as caught:
        check_state("Model", {"a": (2,)}, {})
    assert isinstance(caught.value, StateError)
    assert str(caught.value) == "the state does not fit Model; nothing was loaded:\n  missing a"


def test_the_nearest_name_is_proposed_only_where_it_is_near():
    assert nearest("blocks.0.attn.qkv.weight", ["head.weight", "blocks.0.attn.qvk.weight"]) == (
        " (is it blocks.0.attn.qvk.weight?)"
    )
    assert nearest("cls_token", ["blocks.0.norm1.weight"]) == ""


def test_names_without_end_are_cut_short() -> None:
    """As a file may hold: none takes long to compare, and the message remains one that can be read."""
    strangers = {f"stranger{number}": np.zeros(1) for number in range(30_000)}
    with pytest.raises(StateError) as raised:
        check_state("Model", {"weight": (1,), "x" * 10**6: (1,)}, strangers | {"y" * 10**6: np.zeros(1)})
    message = str(raised.value)
    assert message.count("\n") == 1001
    assert message.endswith("... and 29003 more")
    assert "is it" not in message
