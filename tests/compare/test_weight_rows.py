"""DeiT-tiny's published weights on real photos give PyTorch's logits."""

import pytest

from minivit import data
from minivit.compare.weight_rows import DEIT, PHOTOS, weight_rows

HERE = all(any((folder / part).exists() for folder in data.search_folders()) for part in (DEIT, PHOTOS))


@pytest.mark.reference
@pytest.mark.skipif(not HERE, reason="needs DeiT-tiny's weights and the photos in a folder of data (MINIVIT_DATA)")
def test_logits_are_pytorchs():
    rows, skips = weight_rows(["PyTorch"], photos=2)
    assert not skips
    single, double = rows
    assert single.dtype == "float32"
    assert single.forward.absolute < 1e-4
    assert double.forward.relative < 1e-10
    assert single.passed
    assert double.passed
    assert {row.note for row in rows} == {"2 photos, the same class first on 2"}
