import json
from pathlib import Path

from minivit.recipes.metrics import MetricsLog, read_metrics


def test_resuming_drops_later_steps_and_half_a_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"step": step, "loss": step / 7}) + "\n" for step in (20, 40, 60)]
    path.write_text("".join(lines) + '{"step": 80, "lo', encoding="utf-8")
    log = MetricsLog(path, keep_until=40)
    log.write({"step": 60, "loss": 0.5})
    log.close()
    assert read_metrics(path) == [{"step": 20, "loss": 20 / 7}, {"step": 40, "loss": 40 / 7}, {"step": 60, "loss": 0.5}]


def test_a_new_run_starts_an_empty_log(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n', encoding="utf-8")
    MetricsLog(path, keep_until=-1).close()
    assert read_metrics(path) == []
