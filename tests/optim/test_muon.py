"""Tests of minivit/optim/muon.py."""

import numpy as np
import pytest

from minivit import models, nn, optim
from minivit.backend.cpu.threads import Workers
from minivit.optim.muon import dealt, is_hidden_matrix, orthogonalize

VIT = {"image_size": 8, "patch_size": 4, "dim": 8, "depth": 2, "heads": 2, "mlp_dim": 12, "num_classes": 5}
MATRICES = [f"blocks.{i}.{name}.weight" for i in range(2) for name in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")]


def make(dtype=np.float64):
    return models.VisionTransformer(**VIT).astype(dtype)


def give_gradients(model, step):
    for name, parameter in model.named_parameters():
        rng = np.random.default_rng([step, *name.encode()])
        parameter.grad = rng.standard_normal(parameter.shape).astype(parameter.dtype)


def newton_schulz(g):
    """The function of the reference, `zeropower_via_newtonschulz5`, line by line."""
    a, b, c = (3.4445, -4.7750, 2.0315)
    x = g
    if g.shape[0] > g.shape[1]:
        x = x.T
    x = x / (np.linalg.norm(x) + 1e-7)
    for _ in range(5):
        A = x @ x.T
        B = b * A + c * A @ A
        x = a * x + B @ x
    if g.shape[0] > g.shape[1]:
        x = x.T
    return x


@pytest.mark.parametrize("shape", [(6, 6), (12, 4), (4, 12), (24, 8)])
def test_orthogonalising_keeps_the_directions_and_levels_the_singular_values(shape):
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal(shape) * np.exp(rng.standard_normal(shape[1]))
    result = orthogonalize(matrix)
    np.testing.assert_allclose(result, newton_schulz(matrix), rtol=1e-10, atol=1e-12)
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    rotated = u.T @ result @ vt.T
    np.testing.assert_allclose(rotated - np.diag(np.diag(rotated)), 0, atol=1e-10)
    large = np.diag(rotated)[s > 0.05 * np.linalg.norm(s)]
    assert len(large) >= 3
    assert 0.6 < large.min() <= large.max() < 1.25


def test_a_zero_matrix_stays_zero():
    assert not orthogonalize(np.zeros((3, 5))).any()


def test_only_matrices_of_blocks_are_muons():
    assert [name for name, p in make().named_parameters() if is_hidden_matrix(name, p)] == MATRICES


@pytest.mark.parametrize("matrix_learning_rate", [0.02, 1e-3])  # the second is AdamW's own: they must not be mixed up
def test_ten_steps_follow_the_formula_and_the_rest_is_adamws(matrix_learning_rate):
    model, plain = make(), make()
    rates = {"learning_rate": 1e-3, "weight_decay": 0.1}
    optimizer = optim.Muon(model, matrix_learning_rate=matrix_learning_rate, momentum=0.9, **rates)
    adamw = optim.AdamW(plain, **rates)
    expected = {name: (array, 0.0) for name, array in model.state_dict().items() if name in MATRICES}
    for step in range(10):
        factor = 1 / (1 + step)
        optimizer.learning_rate = adamw.learning_rate = 1e-3 * factor
        for m, o in ((model, optimizer), (plain, adamw)):
            give_gradients(m, step)
            o.step()
        for name, (p, b) in expected.items():
            g = dict(plain.named_parameters())[name].grad
            b = 0.9 * b + 0.1 * g
            u = newton_schulz(0.1 * g + 0.9 * b)
            rate = matrix_learning_rate * factor
            p = p * (1 - rate * 0.1) - rate * max(1, p.shape[0] / p.shape[1]) ** 0.5 * u
            expected[name] = p, b
    for name, values in model.state_dict().items():
        wanted = expected[name][0] if name in expected else plain.state_dict()[name]
        np.testing.assert_allclose(values, wanted, rtol=1e-11, atol=1e-13, err_msg=name)


def test_a_scale_of_the_learning_rate_applies_to_both_kinds():
    models_and_scales = [(make(), None), (make(), lambda name, _: 0.5)]
    steps = []
    for model, scale in models_and_scales:
        before = model.state_dict()
        optimizer = optim.Muon(model, weight_decay=0.0, learning_rate_scale=scale)
        give_gradients(model, 0)
        optimizer.step()
        steps.append({name: values - before[name] for name, values in model.state_dict().items()})
    for name, whole in steps[0].items():
        np.testing.assert_allclose(steps[1][name], 0.5 * whole, rtol=1e-9, atol=1e-15, err_msg=name)


def test_matrices_without_gradient_are_skipped():
    model = make()
    optimizer = optim.Muon(model, weight_decay=0.5)
    give_gradients(model, 0)
    model.blocks[0].mlp.fc1.weight.grad = None
    before = model.state_dict()
    optimizer.step()
    unmoved = [name for name, values in model.state_dict().items() if (values == before[name]).all()]
    assert unmoved == ["blocks.0.mlp.fc1.weight"]


def test_a_saved_state_goes_on_with_the_same_bits():
    def run(interrupted):
        model = make(np.float32)
        optimizer = optim.Muon(model)
        for step in range(6):
            if interrupted and step == 3:
                weights, state = model.state_dict(), optimizer.state_dict()
                model = make(np.float32)
                optimizer = optim.Muon(model)
                model.load_state_dict(weights)
                optimizer.load_state_dict(state)
            give_gradients(model, step)
            optimizer.step()
        return model.state_dict()

    one, other = run(False), run(True)
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": 0.0}, "both learning rates must be positive, got 0.0 and 0.02"),
        ({"matrix_learning_rate": -1.0}, "both learning rates must be positive"),
        ({"momentum": 1.0}, r"momentum must lie in \[0, 1\), got 1.0"),
    ],
)
def test_settings_outside_their_range_are_refused(options, message):
    with pytest.raises(ValueError, match=f"Muon: {message}"):
        optim.Muon(nn.Linear(2, 2), **options)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_threads_that_share_the_matrices_change_no_bit(count):
    model, shared = make(np.float32), make(np.float32)
    with Workers(count) as workers:
        optimizers = [optim.Muon(model, weight_decay=0.1), optim.Muon(shared, weight_decay=0.1, workers=workers)]
        for step in range(3):
            for m, o in zip((model, shared), optimizers, strict=True):
                give_gradients(m, step)
                o.step()
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(shared.state_dict()[name], array, err_msg=name)


def test_the_matrices_are_dealt_in_shares_of_nearly_equal_work():
    optimizer = optim.Muon(make())
    segments = [s for s in optimizer.flat.segments if s.name in MATRICES]
    for count in (1, 2, 3):
        shares = dealt(segments, count)
        assert sorted(s.name for share in shares for s in share) == sorted(MATRICES)
        loads = [
            sum(min(s.parameter.shape) ** 2 * (sum(s.parameter.shape) + max(s.parameter.shape)) for s in share)
            for share in shares
        ]
        assert max(loads) - min(loads) <= max(8**2 * (2 * 24 + 8), 1)  # at most the dearest matrix apart
