"""The 1,797 handwritten digits that scikit-learn ships, kept in the package: real data that needs no download."""

from __future__ import annotations

from importlib import resources

import numpy as np

from minivit.data.dataset import Dataset, Splits, channel_statistics

SOURCE = (
    "Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, 1998, "
    "https://doi.org/10.24432/C50P49, licence CC BY 4.0; its test part, as shipped by scikit-learn"
)


def load_digits() -> Splits:
    """The handwritten digits, in a stored, stratified split.

    UCI's official split is by writer; what scikit-learn ships (and what is kept here) is its test part alone, 1,797
    images of 13 writers. It is split 60/20/20 at random within each class, so the same writers are in all three parts.

    Returns
    -------
    Splits
        Train, validation and test: images (N, 1, 8, 8), the 17 ink levels spread over 0 to 255.
    """
    with resources.files("minivit.data").joinpath("digits.npz").open("rb") as file, np.load(file) as arrays:
        levels, labels, part = arrays["images"], arrays["labels"].astype(np.int64), arrays["part"]
    images = np.rint(levels * (255 / 16)).astype(np.uint8)[:, None]  # (N, 1, 8, 8)
    mean, std = channel_statistics(images[part == 0])
    classes = tuple(str(digit) for digit in range(10))

    def dataset(number: int, name: str) -> Dataset:
        chosen = part == number
        return Dataset(f"digits {name}", images[chosen], labels[chosen], classes, mean, std, SOURCE)

    return Splits(train=dataset(0, "train"), validation=dataset(1, "validation"), test=dataset(2, "test"))
