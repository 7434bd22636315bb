from pathlib import Path

import pytest
from PIL import Image

from minivit.recipes.pictures import draw_run


def test_a_finished_run_gets_three_pictures(make_trainer) -> None:
    trainer = make_trainer(epochs=1)
    trainer.run()
    images = trainer.procedure
    paths = draw_run(trainer.folder.path, trainer.model, images.test_set, trainer.final_result, images.mean, images.std)
    assert [path.name for path in paths] == ["learning_curve.png", "confusion.png", "attention.png"]
    for path in paths:
        with Image.open(path) as picture:
            colours = picture.convert("RGB").getcolors(maxcolors=2**24)
        assert colours is not None
        assert len(colours) > 50, f"{path.name} is all but blank"


def test_a_model_without_attention_gets_class_activation_maps(make_trainer) -> None:
    trainer = make_trainer(steps=2, epochs=None, model="resnet_micro_cifar")
    trainer.run()
    images = trainer.procedure
    paths = draw_run(trainer.folder.path, trainer.model, images.test_set, trainer.final_result, images.mean, images.std)
    assert [path.name for path in paths] == ["learning_curve.png", "confusion.png", "class_activation.png"]
    with Image.open(paths[-1]) as picture:
        colours = picture.convert("RGB").getcolors(maxcolors=2**24)
    assert colours is not None
    assert len(colours) > 50, "the maps are all but blank"


@pytest.mark.parametrize("missing", ["matplotlib"])
def test_without_matplotlib_there_are_no_pictures(make_trainer, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setitem(__import__("sys").modules, missing, None)
    trainer = make_trainer(epochs=1)
    trainer.run()
    images = trainer.procedure
    assert draw_run(Path("unused"), trainer.model, images.test_set, trainer.final_result, (0.5,), (0.5,)) == []
