"""Self-checks behind the exercises: each takes the learner's function and says in words what is wrong.

A check raises Wrong, whose message is for the learner, or prints "Right." It compares with an independent computation,
never with the book's solution. One module a chapter; chapters call `checks.name(answer)`.
"""

from .common import Wrong
from .faces import faces_needed, held_out, plurality
from .relation import best_shift, constant_answer, mended_pooling, push
from .transformer import nearest_sample, possible_counts, quarter_turn

__all__ = [
    "Wrong", "best_shift", "constant_answer", "faces_needed", "held_out", "mended_pooling", "nearest_sample",
    "plurality", "possible_counts", "push", "quarter_turn",
]  # fmt: skip
