"""Cells of recurrent networks, as ``tf.nn.rnn_cell`` has them: variables, gates and initial values are TensorFlow's."""

from paraflow.nn.rnn_cell.basic import BasicRNNCell, GRUCell
from paraflow.nn.rnn_cell.cell import RNNCell
from paraflow.nn.rnn_cell.lstm import BasicLSTMCell, LSTMCell, LSTMStateTuple
from paraflow.nn.rnn_cell.wrappers import DeviceWrapper, DropoutWrapper, MultiRNNCell, ResidualWrapper

__all__ = [
    "BasicLSTMCell",
    "BasicRNNCell",
    "DeviceWrapper",
    "DropoutWrapper",
    "GRUCell",
    "LSTMCell",
    "LSTMStateTuple",
    "MultiRNNCell",
    "RNNCell",
    "ResidualWrapper",
]
