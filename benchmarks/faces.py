"""Faces a second that `fer_teach.faces` renders on one core, people and labels included, and the memory it takes.

python benchmarks/faces.py [--size 64] [--count 240]
"""

from __future__ import annotations

import argparse
import json
import resource
import time

from fer_teach.faces import plan


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--count", type=int, default=240)
    options = parser.parse_args()
    people = -(-options.count // plan.PER_PERSON)
    list(plan.make_faces(0, range(2), plan.labels_for(12, 0), options.size))  # compile, fill caches
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    clock, work = time.perf_counter(), time.process_time()
    for _ in plan.make_faces(1, range(people), plan.labels_for(options.count, 1), options.size):
        pass
    clock, work = time.perf_counter() - clock, time.process_time() - work
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({
        "size": options.size,
        "faces": options.count,
        "faces_per_second": round(options.count / clock, 1),
        "faces_per_cpu_second": round(options.count / work, 1),
        "grown_mib": round((after - before) / 1024, 1),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
