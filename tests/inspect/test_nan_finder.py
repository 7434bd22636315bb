import numpy as np
import pytest

from minivit import ops
from minivit.autograd import hooked, tensor
from minivit.inspect import NanFinder, NonFiniteError, find_non_finite
from minivit.models import VisionTransformer
from minivit.nn import BatchNorm2d

RANDOM = np.random.default_rng(0)
LABELS = np.array([1, 3])


@pytest.fixture
def model():
    return VisionTransformer(image_size=8, patch_size=4, dim=12, depth=3, heads=3, mlp_dim=20, num_classes=5)


def step(model, images=None):
    if images is None:
        images = RANDOM.standard_normal((2, 3, 8, 8)).astype(np.float32)
    ops.cross_entropy(model(tensor(images)), LABELS).backward()


def test_a_healthy_step_gives_no_report(model) -> None:
    assert find_non_finite(lambda: step(model), model) is None
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "op", "layer"),
    [
        ("patch_embed.proj.bias", "linear", "patch_embed.proj"),
        ("blocks.0.norm1.weight", "layer_norm", "blocks.0.norm1"),
        ("blocks.1.attn.qkv.weight", "linear", "blocks.1.attn.qkv"),
        ("blocks.2.mlp.fc1.bias", "mlp", "blocks.2.mlp"),
        ("head.bias", "linear", "head"),
        ("pos_embed", "embed_tokens", "VisionTransformer"),
    ],
)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_parameter_that_is_not_finite_is_named_with_its_layer(model, name, op, layer, value) -> None:
    parameter = dict(model.named_parameters())[name]
    parameter.data.flat[0] = value
    report = find_non_finite(lambda: step(model), model)
    assert report is not None
    assert (report.phase, report.op, report.layer, report.what) == ("forward", op, layer, "output")
    assert f"({name})" in str(report)
    assert "already not finite: 1 " in str(report)
    assert report.where[0] == __file__


def test_an_overflow_is_found_where_it_happens_not_where_it_ends(model) -> None:
    """Finite weights, finite input, a product that is too large for float32."""
    model.blocks[1].attn.proj.weight.data[...] = 1e30
    model.blocks[1].attn.qkv.weight.data[...] = 1e15
    report = find_non_finite(lambda: step(model), model)
    assert report is not None
    assert report.layer.startswith("blocks.1.attn")
    assert "already not finite" not in str(report)
    assert "infinite" in report.counts or "NaN" in report.counts


def test_the_images_can_be_to_blame(model) -> None:
    images = np.full((2, 3, 8, 8), np.nan, np.float32)
    report = find_non_finite(lambda: step(model, images), model)
    assert report is not None
    assert (report.op, report.layer) == ("patchify", "patch_embed")
    assert "already not finite: 384 NaN of 384 values" in str(report)


def test_a_backward_that_is_not_finite_is_named(model) -> None:
    """sqrt has an infinite slope at 0, though its value there is fine."""

    def with_sqrt() -> None:
        logits = model(tensor(RANDOM.standard_normal((2, 3, 8, 8)).astype(np.float32)))
        (ops.sqrt(logits * 0.0).sum() + logits.sum()).backward()

    report = find_non_finite(with_sqrt, model)
    assert report is not None
    assert (report.phase, report.op) == ("backward", "sqrt")
    assert report.what.startswith("gradient of")
    assert report.counts == "10 infinite of 10 values"
    assert "gradient of the output" in str(report)


def test_a_layer_is_named_in_the_backward_too(model) -> None:
    """A gradient of 1e20 times a weight of 1e30 overflows in the head, not in the loss."""
    model.head.weight.data[...] = 1e30

    def huge() -> None:
        logits = model(tensor(np.zeros((2, 3, 8, 8), np.float32)))
        logits.backward(np.full((2, 5), 1e20, np.float32))

    report = find_non_finite(huge, model)
    assert report is not None
    assert (report.phase, report.op, report.layer) == ("backward", "linear", "head")


def test_without_a_model_the_class_of_the_layer_is_named(model) -> None:
    model.blocks[0].norm2.bias.data[:] = np.nan
    with (
        pytest.raises(NonFiniteError, match="op layer_norm in LayerNorm, in the forward") as raised,
        hooked(NanFinder()),
    ):
        step(model)
    assert raised.value.report.op == "layer_norm"
    assert "blocks.0.norm2.bias" in str(raised.value)  # a parameter knows its own name


def test_outside_any_module_there_is_no_layer() -> None:
    with pytest.raises(NonFiniteError) as raised, hooked(NanFinder()), np.errstate(divide="ignore"):
        ops.log(tensor([1.0, 0.0]))
    assert raised.value.report.layer == ""
    assert raised.value.report.counts == "1 infinite of 2 values"
    assert isinstance(raised.value, FloatingPointError)


def test_integers_are_left_alone() -> None:
    with hooked(NanFinder()):
        assert ops.embedding(tensor([1, 0]), tensor([[1.0], [2.0]])).tolist() == [[2.0], [1.0]]


def test_gradients_of_gradients_are_looked_at() -> None:
    from minivit.autograd import grad

    x = tensor([4.0, 9.0], requires_grad=True)
    with hooked(NanFinder()):
        first = grad(ops.sqrt(x).sum(), x, create_graph=True)
        second = grad(first.sum(), x)
    np.testing.assert_allclose(second.numpy(), -0.25 * np.array([4.0, 9.0]) ** -1.5, rtol=1e-6)


def test_inside_a_recomputed_block_the_layer_is_found() -> None:
    model = VisionTransformer(
        image_size=8, patch_size=4, dim=12, depth=2, heads=3, mlp_dim=20, num_classes=5, checkpoint_blocks=True
    )
    model.blocks[1].mlp.fc2.bias.data[0] = np.inf
    report = find_non_finite(lambda: step(model), model)
    assert report is not None
    assert (report.op, report.layer) == ("mlp", "blocks.1.mlp")


def test_batch_normalisation_is_looked_at_while_training_and_in_evaluation() -> None:
    layer = BatchNorm2d(2)
    x = RANDOM.standard_normal((3, 2, 4, 4)).astype(np.float32)
    layer.weight.data[1] = np.inf
    for op in ("batch_norm", "batch_norm_evaluation"):
        report = find_non_finite(lambda: layer(tensor(x)).sum().backward(), layer)
        assert report is not None
        assert (report.phase, report.op, report.layer) == ("forward", op, "BatchNorm2d")
        assert "(weight)" in str(report)
        layer.eval()
