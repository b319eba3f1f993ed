"""Layers that pool, as in ``tf.layers``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from paraflow.graph.node import Tensor
from paraflow.nn import pooling
from paraflow.nn.convolution import Numbers
from paraflow.nn.convolution_layers import layout
from paraflow.nn.layer import Layer, as_function


class _Pooling(Layer):
    """The function ``_pool`` over ``_rank`` axes, under the arguments of layers."""

    _rank: ClassVar[int]
    _pool: ClassVar[Callable[..., Tensor]]
    _makes_variables = False

    def __init__(
        self,
        pool_size: Numbers,
        strides: Numbers,
        padding: str = "valid",
        data_format: str = "channels_last",
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.pool_size, self.strides, self.padding, self.data_format = pool_size, strides, padding, data_format

    def call(self, inputs: Tensor) -> Tensor:
        """The pooled inputs."""
        data_format = layout(self.data_format, self._rank)
        return type(self)._pool(inputs, self.pool_size, self.strides, self.padding, data_format)


class MaxPooling1D(_Pooling):
    """`nn.max_pool1d` as a layer."""

    _rank, _pool = 1, pooling.max_pool1d


class MaxPooling2D(_Pooling):
    """`nn.max_pool` as a layer."""

    _rank, _pool = 2, pooling.max_pool


class MaxPooling3D(_Pooling):
    """`nn.max_pool3d` as a layer."""

    _rank, _pool = 3, pooling.max_pool3d


class AveragePooling1D(_Pooling):
    """`nn.avg_pool1d` as a layer."""

    _rank, _pool = 1, pooling.avg_pool1d


class AveragePooling2D(_Pooling):
    """`nn.avg_pool` as a layer."""

    _rank, _pool = 2, pooling.avg_pool


class AveragePooling3D(_Pooling):
    """`nn.avg_pool3d` as a layer."""

    _rank, _pool = 3, pooling.avg_pool3d


max_pooling1d = as_function(MaxPooling1D, "`nn.max_pool1d` under the arguments of layers.")
max_pooling2d = as_function(MaxPooling2D, "`nn.max_pool` under the arguments of layers.")
max_pooling3d = as_function(MaxPooling3D, "`nn.max_pool3d` under the arguments of layers.")
average_pooling1d = as_function(AveragePooling1D, "`nn.avg_pool1d` under the arguments of layers.")
average_pooling2d = as_function(AveragePooling2D, "`nn.avg_pool` under the arguments of layers.")
average_pooling3d = as_function(AveragePooling3D, "`nn.avg_pool3d` under the arguments of layers.")
