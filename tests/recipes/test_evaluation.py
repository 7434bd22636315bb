import numpy as np

from minivit import augment, data, models
from minivit.autograd import Tensor, no_grad
from minivit.backend.cpu.threads import Workers
from minivit.recipes.evaluation import evaluate, predict_logits


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
