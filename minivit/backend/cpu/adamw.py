"""AdamW on flat buffers, in one pass through the cache."""

from __future__ import annotations

import numpy as np

from minivit.backend.cpu.blocks import Array, pieces, scalars
from minivit.backend.pool import empty_like


def adamw(
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    *,
    learning_rate: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    bias_corrections: tuple[float, float],
) -> None:
    """One step of AdamW, in place, in PyTorch's form.

    p <- p (1 - lr decay);  m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g^2;
    p <- p - (lr / c1) m / (sqrt(v / c2) + eps).

    Parameters
    ----------
    p, g, m, v : ndarray of shape (n,)
        Parameters, gradients, first and second moments, of one dtype; `g` is only read.
    learning_rate, eps, weight_decay : float
    betas : (float, float)
        b1 and b2.
    bias_corrections : (float, float)
        c1 = 1 - b1^t and c2 = 1 - b2^t in step t = 1, 2, ...

    Raises
    ------
    ValueError
        If the buffers are not flat, or differ in size or dtype.
    """
    if len({(buffer.shape, buffer.dtype) for buffer in (p, g, m, v)}) != 1 or p.ndim != 1:
        described = ", ".join(f"{buffer.dtype} {buffer.shape}" for buffer in (p, g, m, v))
        raise ValueError(f"adamw: p, g, m, v must be flat, of one size and dtype; got {described}")
    (b1, b2), (c1, c2) = betas, bias_corrections
    keep1, new1, keep2, new2 = scalars(p.dtype, b1, 1 - b1, b2, 1 - b2)
    decay, inverse_root, floor, step = scalars(
        p.dtype, 1 - learning_rate * weight_decay, c2**-0.5, eps, learning_rate / c1
    )
    for part in pieces(p.size, p.itemsize):
        p_part, g_part, m_part, v_part = p[part], g[part], m[part], v[part]
        t = np.multiply(g_part, new1, out=empty_like(g_part))
        m_part *= keep1
        m_part += t
        np.multiply(g_part, g_part, out=t)
        t *= new2
        v_part *= keep2
        v_part += t
        np.sqrt(v_part, out=t)
        t *= inverse_root
        t += floor
        np.divide(m_part, t, out=t)
        t *= step
        if weight_decay:
            p_part *= decay
        p_part -= t
