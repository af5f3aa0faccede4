"""Self-checks behind the exercises: each takes the learner's function and says in words what is wrong.

A check raises Wrong, whose message is for the learner, or prints "Right." It compares with an independent computation,
never with the book's solution. One module a chapter; chapters call `checks.name(answer)`.
"""

from .common import Wrong
from .faces import faces_needed, held_out, plurality
from .hybrid import gain_in_errors, lstm_step, mirrored_landmarks, smallest_gain
from .transformer import nearest_sample, possible_counts, quarter_turn

__all__ = [
    "Wrong", "faces_needed", "gain_in_errors", "held_out", "lstm_step", "mirrored_landmarks", "nearest_sample",
    "plurality", "possible_counts", "quarter_turn", "smallest_gain",
]  # fmt: skip
