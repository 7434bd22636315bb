"""Fast twins of the hot ops for NumPy arrays: in place, in cache-sized pieces, on buffers of the pool.

Every kernel is a pair of plain functions of arrays that never writes into an input, a cotangent or what was saved, and
that may run in several threads at once. The formulas stand in the docstrings; the mathematics is explained in `ops/`.
"""

from minivit.backend.cpu import attention, batch_norm, conv2d, gelu, layer_norm, linear, mlp, pooling, relu, softmax
from minivit.backend.kernel import Kernel

KERNELS: dict[str, Kernel] = {
    "attention": Kernel(attention.forward, attention.backward, attention.accepts, attention.keeps, attention.evaluate),
    "avg_pool2d": Kernel(pooling.avg_forward, pooling.avg_backward, pooling.accepts),
    "batch_norm": Kernel(batch_norm.forward, batch_norm.backward, batch_norm.accepts, batch_norm.keeps),
    "batch_norm_evaluation": Kernel(
        batch_norm.evaluation_forward,
        batch_norm.evaluation_backward,
        batch_norm.evaluation_accepts,
        batch_norm.evaluation_keeps,
    ),
    "conv2d": Kernel(conv2d.forward, conv2d.backward, conv2d.accepts, conv2d.keeps),
    "conv_transpose2d": Kernel(
        conv2d.transpose_forward, conv2d.transpose_backward, conv2d.transpose_accepts, conv2d.keeps
    ),
    "gelu": Kernel(gelu.forward, gelu.backward, gelu.accepts, evaluate=gelu.evaluate),
    "layer_norm": Kernel(
        layer_norm.forward, layer_norm.backward, layer_norm.accepts, layer_norm.keeps, layer_norm.evaluate
    ),
    "linear": Kernel(linear.forward, linear.backward, linear.accepts, linear.keeps),
    "log_softmax": Kernel(softmax.log_forward, softmax.log_backward, softmax.accepts),
    "max_pool2d": Kernel(pooling.max_forward, pooling.max_backward, pooling.accepts),
    "mlp": Kernel(mlp.forward, mlp.backward, mlp.accepts, mlp.keeps, mlp.evaluate),
    "qkv_attention": Kernel(
        attention.qkv_forward,
        attention.qkv_backward,
        attention.qkv_accepts,
        attention.qkv_keeps,
        attention.qkv_evaluate,
    ),
    "relu": Kernel(relu.forward, relu.backward, relu.accepts),
    "softmax": Kernel(softmax.forward, softmax.backward, softmax.accepts),
}
"""By the op's name."""
