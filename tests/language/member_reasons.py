"""Why members of TensorFlow 1's classes are missing in paraflow or take other arguments (see members.py).

Patterns of class.member, the first that fits counts; test_symbols.py asks for a reason for every member that is missing
or differs, and that no pattern speaks of nothing.
"""

NEWER = "came after TensorFlow 1.15"
TYPES = "came after TensorFlow 1.15, for tf.function's types"
PYTHON2 = "Python 2's division"
NUMPY = "numpy's dtypes, which are ours, have no such attribute: "
PROTOBUF = "operations, shapes and variables are no protocol buffers: Graph.as_graph_def has all of a graph"
KERNELS = "TensorFlow's own way to its kernels: an operation is made by calling its record, which pf.op makes"
SERVERS = "there is one process a rank, and no servers with devices and containers of resources"
THREADS = "a graph is built by one thread; the default graph is each thread's own all the same"
RUNS = "a run is planned as a whole and computes all that it fetches: feed what an earlier one has returned"
HASHABLE = "tensors and variables are compared by identity and can be keys themselves"
SLICES = "variables are not partitioned"
COPIES = "a variable lies in the ranks' plane: the strategy says how it is kept alike"
KERAS = "what Keras's models and files need of a layer"
NODES = "Keras's record of calls, which tf.layers does not keep either: TensorFlow raises AttributeError"
CALLED = "which losses and updates depend on which inputs is not kept: losses and updates have all of them"
CELLS = "a cell's regularizers add to the collection REGULARIZATION_LOSSES"
EVENTS = "there are no such protocol buffers here: add_event takes any event of TensorBoard's"

MISSING = {
    "*.experimental_ref": HASHABLE,
    **dict.fromkeys(("Tensor.ref", "Variable.ref", "Tensor.ndim", "Variable.scatter_nd_m*", "SparseTensor.set_shape",
                     "layers.*.convolution_op", "Graph.__enter__", "Graph.__exit__", "Graph.op_def_for_type",
                     "Graph.*_operations", "Graph.get", "Graph.Dismantle", "Operation.from_node_def",
                     "Operation.experimental_*", "OpError.experimental_*"), NEWER),
    **dict.fromkeys(("DType.cast", "DType.exp*", "DType.flatten", "DType.from_tensors", "DType.is_subtype_of",
                     "DType.most_*", "DType.placeholder_value", "DType.to_tensors", "DType.is_numeric",
                     "TensorShape.cast", "TensorShape.exp*", "TensorShape.flatten", "TensorShape.from_tensors",
                     "TensorShape.is_subtype_of", "TensorShape.most_specific_common*", "TensorShape.placeholder_value",
                     "TensorShape.to_tensors"), TYPES),
    **dict.fromkeys(("*.__div__", "*.__rdiv__"), PYTHON2),
    # dtypes
    "DType.as_numpy_dtype": NUMPY + "the dtype is numpy's itself, its type the scalar's",
    "DType.base_dtype": NUMPY + "there are no dtypes of references, so it is the dtype itself",
    **dict.fromkeys(("DType.is_bool", "DType.is_complex", "DType.is_floating", "DType.is_integer", "DType.real_dtype"),
                    NUMPY + "pf.dtypes has functions of these names"),
    "DType.is_unsigned": NUMPY + "its kind is u",
    "DType.is_quantized": NUMPY + "there are no quantised dtypes",
    "DType.is_numpy_compatible": NUMPY + "all are",
    "DType.is_compatible_with": NUMPY + "dtypes are compared with ==",
    **dict.fromkeys(("DType.limits", "DType.max", "DType.min"), NUMPY + "pf.dtypes.limits(dtype) has min and max"),
    "DType.size": NUMPY + "its itemsize",
    **dict.fromkeys(("DType.as_datatype_enum", "DType.__int__"), PROTOBUF),
    # graphs
    **dict.fromkeys(("Graph.container", "Session.reset", "*Session.list_devices",
                     "Operation.colocation_groups"), SERVERS),
    "Graph.create_op": KERNELS,
    "Graph.switch_to_thread_local": THREADS,
    **dict.fromkeys(("Graph.graph_def_versions", "Operation.node_def", "Operation.op_def", "TensorShape.as_proto",
                     "Variable.to_proto", "Variable.from_proto"), PROTOBUF),
    "*Session.partial_run*": RUNS,
    "Tensor.OVERLOADABLE_OPERATORS": KERNELS,
    "Tensor.__len__": "len() of a tensor raises TypeError all the same",
    "Variable.SaveSliceInfo": SLICES,
    **dict.fromkeys(("Variable.aggregation", "Variable.synchronization"), COPIES),
    "VariableScope.get_variable": "it takes TensorFlow's own store: pf.get_variable finds ours",
    # networks
    **dict.fromkeys(("*.*_at", "*.input", "*.output", "*.input_shape", "*.output_shape", "*.input_mask",
                     "*.output_mask", "*.*bound_nodes"), NODES),
    "*.get_*_for": CALLED,
    **dict.fromkeys(("nn.rnn_cell.RNNCell.activity_regularizer", "nn.rnn_cell.RNNCell.add_loss",
                     "nn.rnn_cell.RNNCell.add_update", "nn.rnn_cell.RNNCell.losses", "nn.rnn_cell.RNNCell.updates"),
                    CELLS),
    "nn.rnn_cell.RNNCell.compute_output_shape": "a cell has output_size and state_size",
    "nn.rnn_cell.RNNCell.apply": "a cell is called",
    **dict.fromkeys(("layers.*", "nn.rnn_cell.*"), KERAS),
    # training
    "summary.FileWriter.add_*": EVENTS,
}  # fmt: skip

DIFFERS = {
    "Graph.as_graph_def": NEWER,
    "train.Optimizer.apply_gradients": NEWER,
    "layers.BatchNormalization.call": KERAS,
    "*.add_variable": "its arguments are those of add_weight, written out",
    "*.add_weight": "variables are of one kind and not partitioned, and lie in the ranks' plane",
    "layers.Layer.apply": "its first argument is written out",
    "nn.rnn_cell.*.build": "its argument is called inputs_shape, as in TensorFlow 1.15",
    "nn.rnn_cell.RNNCell.call": "the state of a cell is written out",
}
