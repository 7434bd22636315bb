import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minivit as mv
from minivit import ops
from minivit.autograd.errors import ShapeError
from minivit.compare import cases


@pytest.mark.parametrize("case", cases("patchify", "unpatchify"), ids=str)
def test_every_rung_of_the_ladder(case):
    case.prove()


IMAGES = st.tuples(
    st.integers(1, 2), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)
)  # B, C, rows, columns, p


@settings(max_examples=25)
@given(sizes=IMAGES, seed=st.integers(0, 2**32 - 1))
def test_the_ladder_for_any_shape(sizes, seed):
    batch, channels, rows, columns, p = sizes
    image = np.random.default_rng(seed).standard_normal((batch, channels, rows * p, columns * p))
    mv.prove(ops.patchify, image, attributes={"patch_size": p}, linear=True)
    patches = ops.patchify(image, p).numpy()
    mv.prove(ops.unpatchify, patches, attributes={"patch_size": p, "shape": image.shape[1:]}, linear=True)


@settings(max_examples=30)
@given(sizes=IMAGES, seed=st.integers(0, 2**32 - 1))
def test_unpatchify_is_its_inverse_and_its_adjoint(sizes, seed):
    batch, channels, rows, columns, p = sizes
    rng = np.random.default_rng(seed)
    image = rng.standard_normal((batch, channels, rows * p, columns * p))
    patches = ops.patchify(image, p)
    assert patches.shape == (batch, rows * columns, channels * p * p)
    assert np.array_equal(ops.unpatchify(patches, p, image.shape[1:]).numpy(), image)
    x, dy = mv.tensor(image, requires_grad=True), rng.standard_normal(patches.shape)
    back = ops.unpatchify(dy, p, image.shape[1:])
    assert np.array_equal(mv.grad(ops.patchify(x, p), x, dy).numpy(), back.numpy())
    assert np.isclose((patches.numpy() * dy).sum(), (image * back.numpy()).sum())


def test_where_every_pixel_goes():
    """A 4 x 6 image of three channels whose value is its place, 100 c + 10 i + j: square ones hide a swap of axes."""
    c, i, j = np.meshgrid(np.arange(3), np.arange(4), np.arange(6), indexing="ij")
    patches = ops.patchify((100.0 * c + 10 * i + j)[None], 2).numpy()[0]
    assert patches.shape == (6, 12)
    assert patches[0].tolist() == [0, 1, 10, 11, 100, 101, 110, 111, 200, 201, 210, 211]
    assert patches[1].tolist() == [2, 3, 12, 13, 102, 103, 112, 113, 202, 203, 212, 213]  # to the right of it
    assert patches[3][:4].tolist() == [20, 21, 30, 31]  # the first of the second row


def test_a_linear_map_of_patches_is_a_convolution_whose_stride_is_its_kernel(rng):
    image, dy = rng.standard_normal((2, 3, 8, 12)), rng.standard_normal((2, 5, 2, 3))
    weight, bias = rng.standard_normal((5, 3, 4, 4)), rng.standard_normal(5)
    x, w, b = (mv.tensor(a, requires_grad=True) for a in (image, weight, bias))
    convolved = ops.conv2d(x, w, b, stride=4)  # (B, D, H/p, W/p)
    embedded = ops.linear(ops.patchify(x, 4), w.reshape(5, -1), b)  # (B, N, D)
    assert np.allclose(embedded.numpy(), convolved.numpy().reshape(2, 5, 6).swapaxes(1, 2), rtol=1e-12)
    ours = mv.grad(embedded, [x, w, b], dy.reshape(2, 5, 6).swapaxes(1, 2).copy())
    for gradient, expected in zip(ours, mv.grad(convolved, [x, w, b], dy), strict=True):
        assert np.allclose(gradient.numpy(), expected.numpy(), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("shape", [(1, 3, 5, 4), (1, 3, 4, 5), (3, 4, 4)])
def test_images_that_cannot_be_cut(shape):
    with pytest.raises(ShapeError, match=r"H and W multiples of 2, got \("):
        ops.patchify(np.ones(shape), 2)


@pytest.mark.parametrize("shape", [(1, 5, 12), (1, 6, 11), (6, 12)])
def test_patches_that_make_no_image(shape):
    with pytest.raises(ShapeError, match=r"images \(3, 4, 6\) in patches of 2 are \(B, 6, 12\), got"):
        ops.unpatchify(np.ones(shape), 2, (3, 4, 6))
    with pytest.raises(ShapeError):
        ops.unpatchify(np.ones((1, 6, 12)), 2, (3, 5, 6))
