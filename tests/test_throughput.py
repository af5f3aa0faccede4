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


def test_the_comparison_of_regions_is_complete():
    sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
    import throughput

    line = throughput.regions(batch=1, repeats=1, size=64)
    assert line["comparison"] == "regions"
    assert line["batch"] == 1
    assert line["looped_fp32_ms"] > 0
    assert abs(line["share"] - line["batched_bf16_ms"] / line["looped_fp32_ms"]) < 1e-3


def test_every_chapter_builds_what_it_trains():
    sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
    import throughput

    line = throughput.measure("02_region_attention", batch=32, precision="bf16", seconds=0.01, count=64)
    assert line["network"] == "RegionAttentionNetwork"
    assert line["n"] == 2 * 64
