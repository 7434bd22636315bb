"""The adversarial term of inpainting: a discriminator learns to tell fillings from the truth, the filler to fool it.

Pathak et al. 2016, arXiv:1604.07379, equations 2 and 3; the discriminator and the alternation are DCGAN's
(arXiv:1511.06434). The squared error alone is least for the mean of all fillings that are possible, which is blurred;
the discriminator knows that no true picture is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from minivit import ops
from minivit.autograd import Tensor, stop_gradient
from minivit.backend import Array, array_module
from minivit.backend.cpu.threads import Workers
from minivit.models.discriminator import Discriminator
from minivit.nn import Module, frozen_running_statistics, mask_keys
from minivit.optim import AdamW
from minivit.recipes.checkpoint import Stateful
from minivit.recipes.parallel import ParallelGradients
from minivit.recipes.pretext.config import PretextConfig
from minivit.recipes.pretext.step import PretextBatch
from minivit.recipes.step import StepResult, TrainingStep, summed, training_precision

if TYPE_CHECKING:
    from minivit.recipes.pretext.inpainting import Inpainting

BETAS = (0.5, 0.999)  # DCGAN, section 4: a momentum of 0.9 let the two oscillate


class AdversarialStep(TrainingStep):
    """First the discriminator makes a step on true and filled pictures, then the model on (1 - w) L2 + w adversarial.

    The discriminator belongs to the step: only training needs it. A checkpoint keeps it beside the optimisers.

    Parameters
    ----------
    model, config, total_steps, workers
        As for `TrainingStep`.
    task : Inpainting
    """

    config: PretextConfig

    def __init__(
        self, model: Module, config: PretextConfig, total_steps: int, workers: Workers, task: Inpainting
    ) -> None:
        super().__init__(model, config, total_steps, workers)
        self.task = task
        channels, side, _ = task.image_shape
        seen = side // 2 if config.mask == "center" else side
        self.discriminator = Discriminator(channels, seen, config.discriminator_width, config.seed).to(model.device)
        self.discriminator_optimizer = AdamW(
            self.discriminator, config.discriminator_learning_rate, betas=BETAS, weight_decay=0.0
        )
        flat = self.discriminator_optimizer.flat
        size = self.gradients.micro_batch
        self.gradients = ParallelGradients(self.optimizer.flat, workers, size, further=[self.discriminator])
        self.discriminator_gradients = ParallelGradients(flat, workers, size, further=[model])
        self._discriminator_before: Array = array_module(flat.data).empty_like(flat.data)

    @property
    def further(self) -> Mapping[str, Stateful]:
        """The discriminator and its optimiser."""
        return {"discriminator": self.discriminator, "discriminator_optimizer": self.discriminator_optimizer}

    def __call__(self, batch: PretextBatch) -> StepResult:
        """Two steps: the discriminator's, then the model's against the new discriminator."""
        self._discriminator_before[...] = self.discriminator_optimizer.flat.data
        with training_precision(self.config):
            told = self.discriminator_gradient(batch)
        self.discriminator_optimizer.step()
        result = super().__call__(batch)
        return StepResult({**result.values, **told}, result.grad_norm, result.size)

    def rewind(self) -> None:
        """Give both the values that they had before the last step."""
        super().rewind()
        flat = self.discriminator_optimizer.flat
        flat.data[...] = self._discriminator_before
        flat.touch()

    def discriminator_gradient(self, batch: PretextBatch) -> dict[str, Array]:
        """Gradients of the discriminator's loss on its parameters alone; the loss, and how often it is right."""

        def loss_of(part: slice) -> tuple[Tensor, dict[str, Array]]:
            images, hidden, predicted = (array[part] for array in batch.arrays)
            with frozen_running_statistics(), mask_keys(self.config.seed, batch.step, batch.index[part]):
                filled = self.model(Tensor(images), hidden)
            losses, right = discriminator_loss(self.discriminator, filled, images, predicted, self.config.mask)
            loss = losses.sum() / batch.size
            return loss, {"discriminator_loss": loss.data, "discriminator_accuracy": right.sum() / batch.size}

        return summed(self.discriminator_gradients.run(loss_of, batch.size))

    def forward_backward(self, batch: PretextBatch, gradients: ParallelGradients | None = None) -> dict[str, Array]:
        """Gradients of the joint loss on the model's parameters alone; its terms by name."""
        w = self.config.adversarial

        def loss_of(part: slice) -> tuple[Tensor, dict[str, Array]]:
            images, hidden, predicted = (array[part] for array in batch.arrays)
            with mask_keys(self.config.seed, batch.step, batch.index[part]):
                filled = self.model(Tensor(images), hidden)
            errors, measured = self.task.judge(filled, images, hidden, predicted)
            with frozen_running_statistics():
                shown = region(filled, Tensor(images), predicted, self.config.mask)
                fooled = logistic_loss(self.discriminator(shown), true=True)  # (b,)
            loss = ((1 - w) * errors + w * fooled).sum() / batch.size
            named = {"squared_error": errors.data, "adversarial_loss": fooled.data, **measured}
            return loss, {"loss": loss.data, **{name: value.sum() / batch.size for name, value in named.items()}}

        with frozen(self.discriminator):
            return summed((gradients or self.gradients).run(loss_of, batch.size))


def discriminator_loss(
    discriminator: Module, filled: Tensor, images: Array, predicted: Array, mask: str | None
) -> tuple[Tensor, Array]:
    """What the discriminator minimises: to call the truth true, and fillings not.

    Parameters
    ----------
    discriminator : Module
        Pictures (b, C, s, s) -> log-odds (b,) of being true.
    filled : Tensor of shape (b, C, H, W)
        The model's answer. No gradient reaches it: the model is not to help.
    images : array (b, C, H, W)
        The truth.
    predicted : array (b, 1, H, W) of bool
    mask : str
        Kind of the holes, see `region`.

    Returns
    -------
    losses : Tensor of shape (b,)
    right : array (b,) of float
        The share of the two pictures that it got right.
    """
    truth = Tensor(images)
    made = stop_gradient(region(filled, truth, predicted, mask))
    # Each kind is a batch of its own, with its own statistics in batch normalisation, as in DCGAN's code.
    of_true, of_made = discriminator(region(truth, truth, predicted, mask)), discriminator(made)
    right = ((of_true.data > 0).astype(images.dtype) + (of_made.data <= 0)) / 2
    return logistic_loss(of_true, true=True) + logistic_loss(of_made, true=False), right


def region(filled: Tensor, images: Tensor, predicted: Array, mask: str | None) -> Tensor:
    """What the discriminator looks at: the filled centre, or the whole image with its holes filled.

    Parameters
    ----------
    filled, images : Tensor of shape (b, C, H, W)
    predicted : array (b, 1, H, W) of bool
    mask : str
        For ``"center"`` the predicted square is cut out, as in the authors' code: the frame would be the same.

    Returns
    -------
    Tensor of shape (b, C, H/2, W/2) or (b, C, H, W)
    """
    if mask != "center":
        return ops.where(Tensor(predicted), filled, images)
    H, W = images.shape[2:]
    top, left = (H - H // 2) // 2, (W - W // 2) // 2
    return filled[:, :, top : top + H // 2, left : left + W // 2]


def logistic_loss(scores: Tensor, true: bool) -> Tensor:
    """``-log sigmoid(score)`` of what should be called true, ``-log(1 - sigmoid(score))`` of what should not.

    Parameters
    ----------
    scores : Tensor of shape (b,)
        Log-odds of being true.
    true : bool
        What all of them should be called.

    Returns
    -------
    Tensor of shape (b,)
        log(exp(0) + exp(-score)), or exp(score) there: nothing overflows.
    """
    zeros = Tensor(array_module(scores.data).zeros_like(scores.data))
    return ops.logsumexp(ops.stack([zeros, -scores if true else scores], axis=1), axis=1)


@contextmanager
def frozen(module: Module) -> Iterator[Any]:
    """Let gradients pass through a module, but compute none of its parameters inside the block."""
    wanted = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in wanted:
        parameter.requires_grad = False
    try:
        yield
    finally:
        for parameter in wanted:
            parameter.requires_grad = True
