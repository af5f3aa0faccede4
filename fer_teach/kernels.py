"""A way around kernels that read or write where they must not."""

from __future__ import annotations

import contextlib

import torch
import torch.nn.functional as F


@contextlib.contextmanager
def dense():
    """Meanwhile a convolution that is trained on a processor has stride 1 where its stride would go wrong.

    With oneDNN 3.12 (torch 2.14) and channels_last, two gradients of weights do:

    - a 1x1 kernel on fewer than 16 channels writes behind its memory: "corrupted size vs. prev_size", a segmentation
      fault, or nothing until another day (https://github.com/uxlfoundation/oneDNN/issues/6035). It gets the pixels that
      the stride leaves.
    - a 3x3 kernel in bf16 on a map of one pixel reads memory that nobody wrote: now and then the loss is nan. On one
      pixel every stride gives the same.
    """
    strided = F.conv2d

    def conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        trained = torch.is_grad_enabled() and weight.requires_grad and weight.device.type == "cpu"
        if trained and _pair(stride) != (1, 1) and padding != "same":
            margin = (0, 0) if padding == "valid" else _pair(padding)
            if weight.shape[2:] == (1, 1) and weight.shape[1] < 16 and margin == (0, 0):
                down, right = _pair(stride)
                input, stride = input[..., ::down, ::right], 1
            elif input.shape[-2:] == (1, 1) and weight.shape[2:] == tuple(2 * side + 1 for side in margin):
                stride = 1
        return strided(input, weight, bias, stride, padding, dilation, groups)

    F.conv2d = conv2d
    try:
        yield
    finally:
        F.conv2d = strided


def _pair(value) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (tuple(value) * 2)[:2]
