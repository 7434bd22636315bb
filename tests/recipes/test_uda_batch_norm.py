"""UDA with a model that normalises over the batch: one forward of all examples, as in the official code."""

import numpy as np
import pytest

import minivit as mv
from minivit.backend.cpu.threads import Workers
from minivit.models import ResNet
from minivit.recipes.uda import uda_loss
from minivit.recipes.uda_config import UdaConfig
from minivit.recipes.uda_step import UdaBatch, UdaStep

CLASSES = 4


def model_of() -> ResNet:
    model = ResNet(layers=(1, 1), block="basic", width=4, num_classes=CLASSES, channels=1, stem="cifar", seed=2)
    for parameter in (model.layer1[0].bn2.weight, model.layer2[0].bn2.weight):
        parameter.assign(np.ones(parameter.shape, np.float32))
    model.fc.weight.assign(3 * model.fc.weight.numpy())  # some rows are confident
    return model.astype(np.float64)


def batch_of(labelled: int = 6, unlabelled: int = 9) -> UdaBatch:
    draw = np.random.default_rng(7)
    # Of other means, so that statistics of each kind by itself would be others.
    images = draw.normal(size=(labelled + 2 * unlabelled, 1, 8, 8))
    images[labelled:] += 1.0
    images[labelled + unlabelled :] *= 2.0
    index = np.arange(len(images))
    cut = labelled, labelled + unlabelled
    some = unlabelled > 0
    return UdaBatch(
        images[: cut[0]],
        draw.integers(0, CLASSES, labelled),
        images[cut[0] : cut[1]] if some else None,
        images[cut[1] :] if some else None,
        index[: cut[0]],
        index[cut[0] : cut[1]] if some else None,
        index[cut[1] :] if some else None,
        step=4,
    )


def config_of(**settings) -> UdaConfig:
    base = {"steps": 10, "batch_size": 6, "micro_batch": 4, "learning_rate": 0.1, "confidence": 0.5, "ema": 0.0}
    return UdaConfig(**{**base, "optimizer": "sgd", "weight_decay": 0.0, **settings})


@pytest.mark.parametrize("threads", [1, 2])
def test_by_default_all_examples_share_their_statistics(threads: int) -> None:
    batch = batch_of()
    model = model_of()
    images = np.concatenate([batch.labelled, batch.augmented, batch.original])
    logits = model(mv.tensor(images))
    loss, quantities = uda_loss(logits[:6], batch.labels, logits[15:], logits[6:15], confidence=0.5, progress=0.4)
    loss.backward()
    assert 0 < quantities["confident_share"] < 1

    workers = Workers(threads)
    step = UdaStep(model_of(), config_of(), 10, workers, CLASSES)
    values = step.forward_backward(batch)
    workers.close()
    np.testing.assert_allclose(values["loss"], loss.numpy(), rtol=1e-10)
    found = dict(step.model.named_parameters())
    for name, parameter in model.named_parameters():
        scale = np.abs(parameter.grad).max()
        assert scale > 1e-6, name
        np.testing.assert_allclose(found[name].grad, parameter.grad, rtol=0, atol=1e-10 * scale, err_msg=name)
    state = step.model.state_dict()
    for name, buffer in model.named_buffers():
        np.testing.assert_allclose(state[name], buffer.numpy(), rtol=1e-10, err_msg=name)
    assert state["bn1.num_batches_tracked"] == 1


@pytest.mark.parametrize("tsa", ["none", "exp"])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_labels_alone_are_one_batch_too(tsa: str, threads: int) -> None:
    batch = batch_of(unlabelled=0)
    workers = Workers(threads)
    step = UdaStep(model_of(), config_of(method="supervised", tsa=tsa), 10, workers, CLASSES)
    step.forward_backward(batch)
    workers.close()
    model = model_of()
    logits, nothing = model(mv.tensor(batch.labelled)), mv.tensor(np.zeros((1, CLASSES)))
    loss, _ = uda_loss(logits, batch.labels, nothing, nothing, tsa=tsa, progress=0.4, weight=0.0)
    loss.backward()
    np.testing.assert_allclose(
        step.model.conv1.weight.grad,
        model.conv1.weight.grad,
        rtol=0,
        atol=1e-10 * np.abs(model.conv1.weight.grad).max(),
    )
    assert step.model.state_dict()["bn1.num_batches_tracked"] == 1


def test_branches_with_statistics_of_their_own_are_refused() -> None:
    with pytest.raises(ValueError, match=r"ResNet normalises over the batch.*leave out --forward"):
        UdaStep(model_of(), config_of(forward="separate"), 10, Workers(1), CLASSES)
