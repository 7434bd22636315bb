"""The real data set, where it is at hand."""

import pytest

from minivit.data.cifar import CIFAR10, find_cifar

REAL_CIFAR10 = find_cifar(CIFAR10)  # looked up now: tests change the environment


@pytest.fixture
def real_cifar10():
    """The folder of the real CIFAR-10."""
    if REAL_CIFAR10 is None:
        pytest.skip("needs CIFAR-10: name the folder that holds cifar-10-batches-bin/ in MINIVIT_DATA")
    return REAL_CIFAR10
