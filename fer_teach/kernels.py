"""A way around a kernel that writes where it must not."""

from __future__ import annotations

import contextlib

import torch
import torch.nn.functional as F


@contextlib.contextmanager
def dense():
    """Meanwhile a 1x1 convolution that is trained on a processor takes its pixels first and then has stride 1.

    With a stride and fewer than 16 input channels, in channels_last, oneDNN (up to 3.12 at least) writes its backward
    pass behind its own memory: "corrupted size vs. prev_size", a segmentation fault, or nothing until another day.
    https://github.com/uxlfoundation/oneDNN/issues/6035
    """
    strided = F.conv2d

    def conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        down, right = (stride, stride) if isinstance(stride, int) else (stride * 2)[:2]
        small = weight.shape[2:] == (1, 1) and weight.shape[1] < 16 and padding in (0, (0, 0), (0,), [0, 0], "valid")
        trained = torch.is_grad_enabled() and weight.requires_grad and weight.device.type == "cpu"
        if max(down, right) > 1 and small and trained:
            input, stride = input[..., ::down, ::right], 1
        return strided(input, weight, bias, stride, padding, dilation, groups)

    F.conv2d = conv2d
    try:
        yield
    finally:
        F.conv2d = strided
