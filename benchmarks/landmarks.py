"""Does dlib see rendered faces, and where? Its detector and 68-point predictor on the packed gallery.

    python benchmarks/landmarks.py [--out FILE]

Near-frontal: turned by less than 15 degrees, tilted by less than 12, nothing in front. Errors are distances to the true
landmarks as shares of the distance between the outer corners of the eyes, as 300-W has it (Sagonas et al. 2013), and
between the eyes' centres.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from pathlib import Path

import dlib
import numpy as np

from fer_teach import data, evaluation


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("_build/transfer/landmarks.json"))
    options = parser.parse_args()
    models = Path(importlib.util.find_spec("face_recognition_models").submodule_search_locations[0]) / "models"
    detector = dlib.get_frontal_face_detector()
    predictor = dlib.shape_predictor(str(models / "shape_predictor_68_face_landmarks.dat"))
    gallery = data.load("rendered", split="gallery")
    a = gallery.attributes
    frontal = gallery[(a["yaw"].abs() < 15) & (a["pitch"].abs() < 12) & ~a["occluded"]]
    errors = {"outer_corners": [], "eye_centres": []}
    for image, truth in zip(frontal.images.permute(0, 2, 3, 1).numpy(), frontal.landmarks.numpy(), strict=True):
        boxes = detector(np.ascontiguousarray(image), 1)
        if boxes:
            shape = predictor(np.ascontiguousarray(image), max(boxes, key=lambda box: box.area()))
            points = np.array([[p.x, p.y] for p in shape.parts()], float)
            far = np.linalg.norm(points - truth, axis=1)
            errors["outer_corners"].append(far / np.linalg.norm(truth[36] - truth[45]))
            errors["eye_centres"].append(far / np.linalg.norm(truth[36:42].mean(0) - truth[42:48].mean(0)))
    found = len(errors["eye_centres"])
    result = {
        "faces": len(frontal),
        "found": found,
        "interval": [float(x) for x in evaluation.wilson(found, len(frontal))],
        "median_error": {name: float(np.median(values)) for name, values in errors.items()},
        "median_error_without_jaw": {name: float(np.median(np.array(v)[:, 17:])) for name, v in errors.items()},
        "data": gallery.fingerprint,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(result)


if __name__ == "__main__":
    main()
