import pytest

from minivit import models
from minivit.recipes.memory import available_bytes, explain_out_of_memory


def test_an_out_of_memory_error_says_what_would_fit() -> None:
    model = models.create("vit_micro_cifar", depth=1)
    error = MemoryError("no room")
    explain_out_of_memory(error, model, (3, 32, 32), 512)
    assert len(error.__notes__) == 1
    assert "--micro-batch " in error.__notes__[0]
    assert "512 images" in error.__notes__[0]


def test_with_batch_normalisation_it_is_the_batch_that_has_to_be_smaller() -> None:
    error = MemoryError()
    explain_out_of_memory(error, models.create("resnet_micro_cifar", num_classes=10), (3, 32, 32), 16)
    assert "--batch-size " in error.__notes__[0]
    assert "--micro-batch has no effect" in error.__notes__[0]


def test_batch_normalisation_over_a_single_pixel_can_be_asked_too() -> None:
    model = models.create("resnet_micro_cifar", num_classes=10)  # an eighth of the side: one pixel
    error = MemoryError()
    explain_out_of_memory(error, model, (3, 8, 8), 16)
    assert "an image takes about " in error.__notes__[0]
    assert "--batch-size " in error.__notes__[0]


def test_other_errors_are_left_alone() -> None:
    error = ValueError("something else")
    explain_out_of_memory(error, models.create("vit_micro_cifar", depth=1), (3, 32, 32), 8)
    assert not hasattr(error, "__notes__")


def test_the_suggestion_is_smaller_than_what_failed() -> None:
    error = MemoryError()
    explain_out_of_memory(error, models.create("vit_micro_cifar", depth=1), (3, 32, 32), 4)
    suggested = int(error.__notes__[0].split("--micro-batch ")[1].split()[0])
    assert 1 <= suggested <= 2


def test_the_host_has_memory() -> None:
    if not available_bytes("cpu"):
        pytest.skip("this system does not tell its free memory")
    assert available_bytes("cpu") > 2**20
