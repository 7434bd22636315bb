"""The emulator of CUDA on the CPU: threads that wait for one another, and calls that CuPy or CUDA would not survive."""

from __future__ import annotations

import cuda_on_cpu
import numpy as np
import pytest
import standin

from minivit.backend import move, to_host

REVERSE = """
enum { SIZE = 8 };
typedef REAL Real;
extern "C" __global__ void __launch_bounds__(SIZE) reverse(const Real *__restrict__ x, Real *y, int blocks)
{
    __shared__ __align__(16) Real held[SIZE];
    const int start = SIZE * (blockIdx.x + gridDim.x * blockIdx.y);
    if (int(blockIdx.y) >= blocks)
        return;
    for (int round = 0; round < 3; ++round) {
        held[threadIdx.x] = round == 0 ? x[start + threadIdx.x] : y[start + threadIdx.x];
        __syncthreads();
        y[start + threadIdx.x] = held[blockDim.x - 1 - threadIdx.x];
        BARRIER
    }
}
"""
OPTIONS = ("-DREAL=double", "-DBARRIER=__syncthreads();")


@pytest.fixture
def kernel(on_cpu):
    def make(*options: str) -> cuda_on_cpu.RawKernel:
        return on_cpu(REVERSE, "reverse", options)

    return make


@pytest.fixture
def arrays():
    x = move(np.arange(48.0), "standin")
    return x, standin.xp.empty(48, np.float64)


def test_threads_wait_for_one_another(kernel, arrays):
    kernel(*OPTIONS)((3, 2), (8,), (*arrays, np.int32(2)))
    np.testing.assert_array_equal(to_host(arrays[1]), np.arange(48.0).reshape(6, 8)[:, ::-1].ravel())


def test_a_whole_block_may_leave(kernel, arrays):
    kernel(*OPTIONS)((3, 2), (8,), (*arrays, np.int32(1)))
    found = to_host(arrays[1])
    assert np.isnan(found[24:]).all()
    assert not np.isnan(found[:24]).any()


def test_a_barrier_that_some_threads_miss_is_refused(kernel, arrays):
    diverging = kernel("-DREAL=double", "-DBARRIER=if(threadIdx.x<3)return;")
    with pytest.raises(RuntimeError, match="reverse: a barrier that only some threads"):
        diverging((3, 2), (8,), (*arrays, np.int32(2)))


@pytest.mark.parametrize(
    ("grid", "block"),
    [((0, 1), (8,)), ((1, 65536), (8,)), ((3, 2), (1025,)), ((3, 2), (8, 1, 65)), ((3.0, 2), (8,)), ([3, 2], (8,))],
)
def test_shapes_that_cuda_does_not_launch_are_refused(kernel, arrays, grid, block):
    with pytest.raises(ValueError, match="CUDA launches no"):
        kernel(*OPTIONS)(grid, block, (*arrays, np.int32(2)))


def test_arguments_of_another_type_are_refused(kernel, arrays):
    x, y = arrays
    for arguments, message in [
        ((x, y, 2), "blocks is int, got int"),
        ((x, y, np.int64(2)), "blocks is int, got int64"),
        ((x, y.astype(np.float32), np.int32(2)), r"y is double \*, got float32"),
        ((x, np.zeros(48, np.float32), np.int32(2)), r"y is double \*, got"),
        ((None, y, np.int32(2)), r"x is double \*, got NoneType"),
        ((x, y), "takes 3 arguments, got 2"),
    ]:
        with pytest.raises(TypeError, match=message):
            kernel(*OPTIONS)((3, 2), (8,), arguments)


def test_arrays_that_do_not_lie_as_the_kernel_reads_them_are_refused(kernel, arrays):
    x, y = arrays
    with pytest.raises(ValueError, match="no C-contiguous array"):
        kernel(*OPTIONS)((1, 1), (8,), (x[::2], y, np.int32(1)))
    with pytest.raises(ValueError, match="same as the current device"):
        kernel(*OPTIONS)((1, 1), (8,), (move(np.zeros(48), "standin:1"), y, np.int32(1)))


def test_a_source_that_does_not_compile_says_why(kernel, arrays):
    with pytest.raises(RuntimeError, match="no_such_thing"):
        kernel("-DREAL=double", "-DBARRIER=no_such_thing();")((3, 2), (8,), (*arrays, np.int32(2)))
