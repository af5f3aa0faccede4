"""The benchmark prints one complete JSON line a chapter."""

import json
import subprocess
import sys
from pathlib import Path


def test_line_is_complete():
    script = Path(__file__).parents[1] / "benchmarks" / "throughput.py"
    options = [
        "--chapter",
        "01_deep_emotion",
        "--batch",
        "256",
        "--threads",
        "1",
        "--seconds",
        "0.1",
        "--images",
        "512",
    ]
    done = subprocess.run([sys.executable, str(script), *options], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.strip().splitlines()
    assert len(lines) == 1
    line = json.loads(lines[0])
    assert line["chapter"] == "01_deep_emotion"
    assert line["network"] == "DeepEmotion"
    assert (line["batch"], line["threads"], line["precision"]) == (256, 1, "bf16")
    assert line["n"] == 2 * 512
    assert 0 < line["images_per_second"] <= line["best_images_per_second"]
    assert 50 < line["peak_memory_mb"] < 4096
