import io

from minivit.recipes.console import Console


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_without_a_terminal_there_are_lines_and_the_last_step_is_shown() -> None:
    stream = io.StringIO()
    console = Console(stream, interval=1000.0)
    console.start(3, 0)
    for step in (1, 2, 3):
        console.step(step, {"loss": "2.303"}, 61.0)
    console.finish()
    lines = stream.getvalue().splitlines()
    assert lines == ["step 1/3  loss 2.303  1:01 left", "step 3/3  loss 2.303  1:01 left"]


def test_on_a_terminal_there_is_a_bar_and_messages_stay_whole() -> None:
    stream = Terminal()
    console = Console(stream)
    console.start(2, 0)
    console.step(1, {"loss": "2.3"}, 5.0)
    console.message("epoch 1.00: validation accuracy 10.00 %")
    console.step(2, {"loss": "2.2"}, 0.0)
    console.finish()
    assert "2/2" in stream.getvalue()
    assert "epoch 1.00: validation accuracy 10.00 %" in stream.getvalue()
