"""Self-checks behind the exercises: each takes the learner's function and says in words what is wrong.

A check raises Wrong, whose message is for the learner, or prints "Right." It compares with an independent computation,
never with the book's solution. One module a chapter; chapters call `checks.name(answer)`.
"""

from .common import Wrong
from .faces import faces_needed, held_out, plurality
from .hybrid import gain_in_errors, lstm_step, mirrored_landmarks, smallest_gain
from .regions import equal_cost_side, reaches_crops, softmax_bounds, top_k_pool
from .relation import best_shift, constant_answer, mended_pooling, push
from .scenes import mirrored, one_word, stable
from .transformer import nearest_sample, possible_counts, quarter_turn

__all__ = [
    "Wrong",
    "push",
    "mended_pooling",
    "constant_answer",
    "best_shift",
    "equal_cost_side",
    "faces_needed",
    "gain_in_errors",
    "held_out",
    "lstm_step",
    "mirrored",
    "mirrored_landmarks",
    "nearest_sample",
    "one_word",
    "plurality",
    "possible_counts",
    "quarter_turn",
    "reaches_crops",
    "smallest_gain",
    "softmax_bounds",
    "stable",
    "top_k_pool",
]
