"""Running an op: one dtype, one device, and messages that name the op, the operands and the user's line."""

import dataclasses
import linecache

import numpy as np
import pytest

import minivit as mv
from minivit import ops
from minivit.autograd import Op, apply
from minivit.autograd.errors import DTypeError
from minivit.backend.cpu import KERNELS


def tensor(*shape, dtype=np.float32, requires_grad=True):
    return mv.tensor(np.full(shape, 0.5, dtype), requires_grad=requires_grad)


# One dtype


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "number",
    [2, 0.5, True, np.float64(0.5), np.float32(0.5), np.int64(3), np.sqrt(64), np.sqrt(np.float32(2)), np.bool_(1)],
)
def test_a_number_takes_the_tensors_dtype(dtype, number):
    x = tensor(2, 3, dtype=dtype)
    for y in (
        x * number, number * x, x + number, number + x, x - number, number - x, x / number, number / x, x**number,
        ops.maximum(x, number), ops.where(x.data > 0, x, number), x.clip(0.0, number),
    ):  # fmt: skip
        assert y.dtype == dtype
        assert mv.grad(y, x, np.ones((2, 3), dtype), allow_unused=True).dtype == dtype


def test_the_attention_scale_does_not_promote():
    q = tensor(1, 2, 3, 4)
    y = ops.attention(q, q, q, scale=1 / np.sqrt(64))
    assert y.dtype == np.float32
    assert (q @ q.swapaxes(-1, -2) / np.sqrt(4)).dtype == np.float32


def test_float64_creeps_in_nowhere():
    """An expression of many ops in float32: every node's output and every gradient is float32."""
    dtypes = set()

    class Look(mv.autograd.Hook):
        def after_forward(self, op, inputs, output, attributes):
            dtypes.add(output.dtype)

        def after_backward(self, node, input_gradients):
            dtypes.update(g.dtype for g in input_gradients if g is not None)

    x, w, b = tensor(3, 4), tensor(4, 4), tensor(4)
    with mv.autograd.hooked(Look()):
        for unroll in (False, True):
            with mv.unrolled() if unroll else mv.enable_grad():
                h = ops.layer_norm(ops.gelu(ops.linear(x, w, b)), b, b)
                h = ops.softmax(h) * h.var(-1, keepdims=True) + h.mean() / h.max() - h.abs() ** 0.5
                loss = ops.cross_entropy(h, np.array([0, 1, 2]), 0.1) + ops.logsumexp(h, (0, 1))
            mv.grad(mv.grad(loss, x, create_graph=True).sum(), x, retain_graph=True)
            loss.backward()
    assert dtypes == {np.dtype(np.float32)}


def test_mixed_dtypes_raise_with_op_operands_and_line():
    with pytest.raises(DTypeError) as caught:
        tensor(2, 3) * tensor(3, dtype=np.float64)
    message = str(caught.value)
    for part in ("op multiply", "float32 (2, 3) on cpu", "float64 (3,) on cpu", "test_apply.py:", "astype"):
        assert part in message


def test_an_array_of_another_dtype_is_no_number():
    with pytest.raises(DTypeError, match="op add needs one floating-point dtype"):
        tensor(2) + np.ones(2)
    with pytest.raises(DTypeError, match="op multiply"):
        tensor(2) * np.asarray(0.5)  # a 0-d array is an array


def test_an_integer_array_that_promotes_raises_and_says_what_to_do():
    with pytest.raises(DTypeError, match=r"op multiply was given .*int64 \(2,\).*returned float64.*astype"):
        tensor(2) * np.arange(2)


def test_a_mask_of_bools_is_welcome():
    x = tensor(2, dtype=np.float32)
    y = x * (x > 0)
    assert y.dtype == np.float32
    assert mv.grad(y, x, np.ones(2, np.float32)).dtype == np.float32


def test_an_op_that_changes_the_dtype_raises():
    class Promotes(Op):
        def forward(F, x):
            return x * np.asarray(2.0)

    with pytest.raises(DTypeError, match=r"op promotes was given float32 \(2,\) on cpu and returned float64"):
        apply(Promotes, tensor(2))
    assert apply(Promotes, tensor(2, dtype=np.float64)).dtype == np.float64


def test_an_op_returns_an_array_also_for_0_d_results():
    class Total(Op):
        def forward(F, x):
            return x.sum()

    assert type(apply(Total, tensor(2, requires_grad=False)).data) is np.ndarray


# Errors of a forward


def test_an_error_in_a_forward_names_op_operands_and_line():
    with pytest.raises(ValueError, match="broadcast") as caught:
        tensor(2, 3) + tensor(4)
    (note,) = caught.value.__notes__
    assert note.startswith("in op add on float32 (2, 3) on cpu, float32 (4,) on cpu, called at")
    assert "test_apply.py:" in note


def test_the_users_line_is_the_innermost_one_outside_the_package():
    x = tensor(2, 3)
    y = ops.layer_norm(x, tensor(3), tensor(3))
    file, line = y.node.where
    assert file == __file__
    assert "ops.layer_norm" in linecache.getline(file, line)


# Ops


def test_an_ops_name_is_its_class_name_in_snake_case_unless_it_has_one():
    class MyFineOp(Op):
        def forward(F, x):
            return x

    class Other(Op):
        name = "renamed"

        def forward(F, x):
            return x

    assert MyFineOp.name == "my_fine_op"
    assert Other.name == "renamed"


def test_keeps_names_inputs_that_exist():
    with pytest.raises(TypeError, match=r"Typo\.keeps names \['y'\]; the inputs are \('x',\)"):

        class Typo(Op):
            keeps = ("y",)

            def forward(F, x):
                return x


def test_inputs_that_are_not_kept_come_as_shapes():
    class Look(Op):
        keeps = ("b",)

        def forward(F, a, b):
            return a * b

        def backward(F, dy, saved, a, b):
            assert (a.shape, a.dtype, a.ndim) == ((2, 3), np.float32, 2)
            assert not hasattr(a, "sum")
            assert type(b) is np.ndarray
            return dy * b, None

    apply(Look, tensor(2, 3), tensor(2, 3)).sum().backward()


def test_an_op_needs_a_tensor():
    class Nothing(Op):
        def forward(F, x):
            return x

    with pytest.raises(TypeError, match="op nothing got no tensor at all"):
        apply(Nothing, None)


def test_a_kernel_saves_nothing_where_no_gradient_is_recorded(monkeypatch):
    kernel = KERNELS["gelu"]
    called = []

    def forward(x, *, approximate):
        called.append("forward")
        return kernel.forward(x, approximate=approximate)

    def evaluate(x, *, approximate):
        called.append("evaluate")
        return kernel.evaluate(x, approximate=approximate)

    monkeypatch.setitem(KERNELS, "gelu", dataclasses.replace(kernel, forward=forward, evaluate=evaluate))
    x = mv.tensor(np.linspace(-2, 2, 5), requires_grad=True)
    recorded = ops.gelu(x)
    with mv.no_grad():
        evaluated = ops.gelu(x)
    constant = ops.gelu(mv.tensor(x.data))
    assert called == ["forward", "evaluate", "evaluate"]
    np.testing.assert_array_equal(recorded.data, evaluated.data)
    np.testing.assert_array_equal(recorded.data, constant.data)
