"""The UDA loss against the same loss written in PyTorch: values and all gradients, over settings and deviations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minivit as mv
from minivit.recipes.uda import IMPLEMENTATIONS, UdaSettings, tsa_threshold, uda_loss

pytestmark = pytest.mark.reference


def torch_loss(labelled, labels, original, augmented, progress, s):
    """The formula once more, by PyTorch's own softmax, cross-entropy and divergence."""
    import torch
    import torch.nn.functional as F

    classes = labelled.shape[1]
    p = labelled.detach().softmax(1)
    gated = p.gather(1, labels[:, None])[:, 0] if s.tsa_gate == "label" else p.amax(1)
    kept = (gated <= tsa_threshold(s.tsa, progress, classes)).to(labelled.dtype)
    ce = F.cross_entropy(labelled, labels, reduction="none", label_smoothing=s.label_smoothing)
    supervised = (ce * kept).sum() / (kept.sum().clamp(min=1) if s.supervised_average == "kept" else len(kept))

    seen = original.detach() / (s.temperature if s.confidence_of == "sharpened" else 1.0)
    sure = (seen.softmax(1).amax(1) > s.confidence).to(labelled.dtype)
    teacher = original.detach() if s.stop_gradient else original
    on_teacher = s.temperature_of == "original"
    log_p = F.log_softmax(teacher / s.temperature if on_teacher else teacher, 1)
    log_q = F.log_softmax(augmented if on_teacher else augmented / s.temperature, 1)
    kl = F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(1)
    divisor = len(sure) if s.consistency_average == "batch" else sure.sum().clamp(min=1)
    entropy = torch.distributions.Categorical(logits=original, validate_args=False).entropy().mean()
    return supervised + s.weight * (kl * sure).sum() / divisor + s.entropy_weight * entropy


def both(seed, progress, options, dtype=np.float64):
    """(value, gradients of labelled, original, augmented) of ours and of PyTorch's."""
    import torch

    rng = np.random.default_rng(seed)
    classes, labelled, unlabelled = rng.integers(2, 11), rng.integers(1, 9), rng.integers(1, 17)
    scale = rng.choice([0.5, 2.0, 5.0])
    arrays = [(scale * rng.standard_normal((n, classes))).astype(dtype) for n in (labelled, unlabelled, unlabelled)]
    labels = rng.integers(0, classes, labelled)

    ours = [mv.tensor(x, requires_grad=True) for x in arrays]
    loss, _ = uda_loss(ours[0], labels, *ours[1:], progress=progress, **options)
    loss.backward()
    theirs = [torch.tensor(x, requires_grad=True) for x in arrays]
    reference = torch_loss(theirs[0], torch.tensor(labels), *theirs[1:], progress, UdaSettings(**options))
    reference.backward()
    return (
        (loss.numpy(), [np.zeros_like(x) if t.grad is None else t.grad for x, t in zip(arrays, ours, strict=True)]),
        (
            reference.detach().numpy(),
            [np.zeros_like(x) if t.grad is None else t.grad.numpy() for x, t in zip(arrays, theirs, strict=True)],
        ),
    )


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "tsa": st.sampled_from(["none", "linear", "log", "exp"]),
        "temperature": st.sampled_from([0.1, 0.4, 1.0, 2.0]),
        "confidence": st.sampled_from([-1.0, 0.0, 0.3, 0.5, 0.95]),
        "weight": st.sampled_from([0.0, 0.5, 20.0]),
        "entropy_weight": st.sampled_from([0.0, 0.1]),
        "label_smoothing": st.sampled_from([0.0, 0.1]),
        "stop_gradient": st.booleans(),
        "tsa_gate": st.sampled_from(["label", "max"]),
        "supervised_average": st.sampled_from(["kept", "batch"]),
        "consistency_average": st.sampled_from(["batch", "confident"]),
        "confidence_of": st.sampled_from(["plain", "sharpened"]),
        "temperature_of": st.sampled_from(["original", "augmented"]),
    },
)


@settings(max_examples=200)
@given(seed=st.integers(0, 2**32 - 1), progress=st.floats(0.0, 1.0), options=OPTIONS)
def test_values_and_gradients_agree_for_all_settings(seed, progress, options):
    (mine, my_gradients), (theirs, their_gradients) = both(seed, progress, options)
    np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-13)
    largest = max(1.0, options.get("weight", 1.0) / options.get("temperature", 0.4))
    for ours, reference in zip(my_gradients, their_gradients, strict=True):
        # Terms of up to the weight over the temperature may cancel.
        np.testing.assert_allclose(ours, reference, rtol=1e-10, atol=1e-12 * largest)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_named_implementations_agree(name, dtype):
    options = {"tsa": "log", **IMPLEMENTATIONS[name], "entropy_weight": 0.1}
    tolerance = 2e-5 if dtype == np.float32 else 1e-12
    for seed in range(10):
        (mine, my_gradients), (theirs, their_gradients) = both(seed, 0.5, options, dtype)
        assert mine.dtype == dtype
        np.testing.assert_allclose(mine, theirs, rtol=tolerance, atol=tolerance)
        assert max(np.abs(g).max() for g in their_gradients) > 1e-3
        for ours, reference in zip(my_gradients, their_gradients, strict=True):
            assert ours.dtype == dtype
            np.testing.assert_allclose(ours, reference, rtol=tolerance, atol=tolerance)
