import numpy as np
import pytest

from minivit import augment, data, models
from minivit.autograd import Tensor, no_grad
from minivit.backend.cpu.threads import Workers
from minivit.recipes.evaluation import evaluate, predict_logits, real_accuracy


def test_accuracy_loss_and_confusion_of_known_logits(digits: data.Splits) -> None:
    test = digits.test
    model = models.VisionTransformer(8, 4, 8, 1, 2, 16, 10, channels=1)
    workers = Workers(2)
    logits = predict_logits(model, test, test.mean, test.std, workers, part=7)
    result = evaluate(model, test, test.mean, test.std, workers, part=7)
    workers.close()
    with no_grad():
        whole = model(Tensor(augment.normalize(test.images, test.mean, test.std))).numpy()
    np.testing.assert_allclose(logits, whole, atol=1e-6)
    predicted = whole.argmax(1)
    assert result.accuracy == (predicted == test.labels).mean()
    p = np.exp(whole) / np.exp(whole).sum(1, keepdims=True)
    assert abs(result.loss + np.log(p[np.arange(len(test)), test.labels]).mean()) < 1e-6
    expected = np.zeros((10, 10), int)
    for true, guess in zip(test.labels, predicted, strict=True):
        expected[true, guess] += 1
    np.testing.assert_array_equal(result.confusion, expected)


def test_evaluation_leaves_the_training_mode_as_it_was(digits: data.Splits) -> None:
    model = models.VisionTransformer(8, 4, 8, 1, 2, 16, 10, channels=1, dropout=0.5)
    workers = Workers(1)
    first = predict_logits(model, digits.test, digits.test.mean, digits.test.std, workers)
    second = predict_logits(model, digits.test, digits.test.mean, digits.test.std, workers)
    assert model.training
    np.testing.assert_array_equal(first, second)


def test_photos_that_are_read_when_they_are_needed_are_evaluated_alike(tmp_path) -> None:
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3)).astype(np.uint8)
    paths = [str(tmp_path / f"{number}.png") for number in range(9)]
    for path, image in zip(paths, pixels, strict=True):
        Image.fromarray(image).save(path)
    files = data.PhotoFiles(paths, lambda path: data.read_image(path, 8), image_size=8)
    fields = (np.arange(9) % 4, ("a", "b", "c", "d"), (0.5,) * 3, (0.5,) * 3, "made up")
    read, held = (data.Dataset("photos", images, *fields) for images in (files, files[:]))
    model = models.VisionTransformer(8, 4, 8, 1, 2, 16, 4)
    workers = Workers(2)
    first, second = (evaluate(model, one, one.mean, one.std, workers, part=4) for one in (read, held))
    workers.close()
    np.testing.assert_array_equal(first.predictions, second.predictions)
    assert (first.accuracy, first.loss) == (second.accuracy, second.loss)


def test_real_accuracy_counts_the_photos_that_have_a_label() -> None:
    labels = ((3,), (), (1, 2), (5, 9, 7), (4,))
    assert real_accuracy(np.array([3, 0, 2, 7, 5]), labels) == (3 / 4, 4)
    assert real_accuracy([0, 0, 0, 0, 0], labels) == (0.0, 4)
    with pytest.raises(ValueError, match="each of 5 photos, got 4"):
        real_accuracy([3, 0, 2, 7], labels)
    with pytest.raises(ValueError, match="none of the photos has a label"):
        real_accuracy([3], ((),))


def test_a_prediction_is_looked_up_at_its_own_photo() -> None:
    """Entry i is of photo number i + 1: read at i + i, a perfect classifier would be wrong."""
    labels = tuple((number,) for number in range(10))
    assert real_accuracy(np.arange(10), labels).accuracy == 1.0
    assert real_accuracy(np.roll(np.arange(10), 1), labels).accuracy == 0.0
