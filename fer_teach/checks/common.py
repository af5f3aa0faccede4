"""What every check uses."""

from __future__ import annotations


class Wrong(AssertionError):
    """The answer is not right yet; the message says in what way."""


def need(good: bool, message: str) -> None:
    if not good:
        raise Wrong(message)


def tensor(value, shape: tuple, name: str):
    import torch

    need(value is not None, f"{name} returns nothing yet: write it, and return the result.")
    need(torch.is_tensor(value), f"{name} must return a tensor, not {type(value).__name__}.")
    need(tuple(value.shape) == shape, f"{name} must return the shape {shape}, not {tuple(value.shape)}.")
    return value
