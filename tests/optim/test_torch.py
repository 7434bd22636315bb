"""The optimisers, schedules and clipping against torch.optim, over fifty steps of a small model in float64."""

import numpy as np
import pytest

from minivit import models, optim

pytestmark = pytest.mark.reference("torch")

STEPS, WARMUP = 50, 8
MODEL = {"image_size": 4, "patch_size": 2, "dim": 8, "depth": 1, "heads": 2, "mlp_dim": 12, "num_classes": 5}


def gradients(shapes, step):
    rng = np.random.default_rng(1000 + step)
    return {name: (1 + step % 3) * rng.standard_normal(shape) for name, shape in shapes.items()}


def run(ours, theirs, unused_until=0):
    """Both optimisers on the same gradients, clipped, with a warmed-up cosine; the largest difference of a weight."""
    import torch

    model = models.VisionTransformer(**MODEL).astype(np.float64)
    shapes = {name: p.shape for name, p in model.named_parameters()}
    tensors = {name: torch.tensor(array, requires_grad=True) for name, array in model.state_dict().items()}
    decayed = [t for name, t in tensors.items() if optim.decays_matrices(name, dict(model.named_parameters())[name])]
    others = [t for t in tensors.values() if all(t is not d for d in decayed)]
    optimizer = ours(model)
    reference = theirs([{"params": decayed}, {"params": others, "weight_decay": 0.0}])
    warm = torch.optim.lr_scheduler.LinearLR(reference, 1 / WARMUP, 1.0, WARMUP - 1)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(reference, STEPS - WARMUP)
    schedule = torch.optim.lr_scheduler.SequentialLR(reference, [warm, cosine], [WARMUP])
    peak = optimizer.learning_rate
    largest = 0.0
    for step in range(STEPS):
        optimizer.zero_grad()
        reference.zero_grad()
        for name, gradient in gradients(shapes, step).items():
            if name.startswith("head") and step < unused_until:
                continue
            dict(model.named_parameters())[name].grad = gradient.copy()
            tensors[name].grad = torch.tensor(gradient)
        norm = optim.clip_grad_norm(optimizer.flat, 20.0)
        their_norm = torch.nn.utils.clip_grad_norm_(tensors.values(), 20.0)
        np.testing.assert_allclose(norm, their_norm, rtol=1e-13)
        optimizer.learning_rate = peak * optim.warmup_cosine(step, STEPS, WARMUP)
        np.testing.assert_allclose(optimizer.learning_rate, reference.param_groups[0]["lr"], rtol=1e-10, atol=1e-16)
        for group in reference.param_groups:  # torch's recursion has drifted by some units in the last place
            group["lr"] = optimizer.learning_rate
        optimizer.step()
        reference.step()
        schedule.step()
        for name, parameter in model.named_parameters():
            largest = max(largest, np.abs(parameter.data - tensors[name].detach().numpy()).max())
    return largest


def test_adamw_is_pytorchs():
    import torch

    options = {"betas": (0.85, 0.99), "eps": 1e-7, "weight_decay": 0.1}
    largest = run(lambda m: optim.AdamW(m, 0.01, **options), lambda p: torch.optim.AdamW(p, 0.01, **options))
    assert largest < 1e-12


def test_adamw_counts_the_updates_of_a_late_parameter_as_pytorch_does():
    import torch

    options = {"betas": (0.85, 0.99), "eps": 1e-7, "weight_decay": 0.1}
    largest = run(lambda m: optim.AdamW(m, 0.01, **options), lambda p: torch.optim.AdamW(p, 0.01, **options), 20)
    assert largest < 1e-12


@pytest.mark.parametrize(
    "options", [{"momentum": 0.0}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}], ids=str
)
def test_sgd_is_pytorchs(options):
    import torch

    options = {**options, "weight_decay": 0.1}
    assert run(lambda m: optim.SGD(m, 0.05, **options), lambda p: torch.optim.SGD(p, 0.05, **options)) < 1e-12


def test_training_goes_the_same_way_as_with_pytorchs_averaged_model():
    import torch

    model = models.VisionTransformer(**MODEL).astype(np.float64)
    average = optim.ExponentialMovingAverage(optim.SGD(model, 0.1).flat, 0.9)
    tensor = torch.nn.Parameter(torch.tensor(model.head.weight.data))
    holder = torch.nn.ParameterList([tensor])
    decay = [0.0]
    theirs = torch.optim.swa_utils.AveragedModel(holder, avg_fn=lambda a, p, _: decay[0] * a + (1 - decay[0]) * p)
    theirs.update_parameters(holder)  # its first call copies
    for step in range(1, 20):
        values = np.random.default_rng(step).standard_normal(model.head.weight.shape)
        model.head.weight.assign(values)
        tensor.data.copy_(torch.tensor(values))
        decay[0] = min(0.9, (1 + step) / (10 + step))
        average.update()
        theirs.update_parameters(holder)
    ours = average.flat.by_name(average.average)["head.weight"]
    np.testing.assert_allclose(ours, next(theirs.parameters()).detach().numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("steps", [20, 80])
def test_an_average_past_its_start_is_pytorchs_own(steps):
    """PyTorch keeps the decay as it is from the first step; after 80 steps ours has reached 0.9 too."""
    import torch

    model = models.VisionTransformer(**MODEL).astype(np.float64)
    average = optim.ExponentialMovingAverage(optim.SGD(model, 0.1).flat, 0.9)
    average.load_state_dict({**average.state_dict(), "steps": np.array(steps)})
    holder = torch.nn.ParameterDict(
        {name.replace(".", "_"): torch.tensor(array) for name, array in model.state_dict().items()}
    )
    theirs = torch.optim.swa_utils.AveragedModel(holder, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9))
    theirs.update_parameters(holder)  # its first call copies
    for step in range(20):
        rng = np.random.default_rng(step)
        for name, parameter in model.named_parameters():
            parameter.assign(rng.standard_normal(parameter.shape))
            holder[name.replace(".", "_")].data.copy_(torch.tensor(parameter.data))
        average.update()
        theirs.update_parameters(holder)
    ours = average.flat.by_name(average.average)
    apart = [np.abs(ours[n] - theirs.module[n.replace(".", "_")].numpy(force=True)).max() for n in ours]
    assert (max(apart) < 1e-13) == (steps == 80)


@pytest.mark.parametrize("final", [0.0, 0.1])
def test_the_cosine_is_pytorchs(final):
    import torch

    reference = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(reference, STEPS, eta_min=0.3 * final)
    for step in range(STEPS + 1):
        ours = 0.3 * optim.warmup_cosine(step, STEPS, final=final)
        np.testing.assert_allclose(ours, schedule.get_last_lr()[0], rtol=1e-12, atol=1e-15)
        reference.step()
        schedule.step()
