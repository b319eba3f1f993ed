"""Why symbols of TensorFlow 1 are missing in paraflow or take other arguments (see symbols.py).

MISSING has patterns, the first that fits counts; test_symbols.py asks for a reason for every missing symbol, and that
no line speaks of a symbol that is there, so whoever adds one takes its line out.
"""

NEWER = "came after TensorFlow 1.15"
SWITCH = "switches TensorFlow itself; there is one kind of graph, session and variable here"
FILES = "reading and decoding of files: pf.data has datasets, sources and batches"
STRINGS = "there are no tensors of strings"
SPARSE = "not built yet; SparseTensor, placeholders, products with dense matrices, lookups and CTC are there"
RAGGED = "there are no ragged tensors: sparse tensors or lengths say where rows end"
SETS = "operations on sets in the rows of sparse tensors; few programs used them"
QUANTISED = "there are no quantised dtypes"
PROTOBUF = "graphs, configurations and summaries are no protocol buffers here"
PLATFORM = "TensorFlow's own platform: devices, plug-ins, logging, packages beside the graph language"
QUEUES = "queues and their runners: pf.data.Batches gives each rank its part of a batch"
SESSIONS = "supervised sessions and hooks: the trainer (paraflow run, paraflow launch) has what they do"
CLUSTER = "clusters of TensorFlow servers: ranks are MPI processes, parallel.mode says what they do"
CONTROL = "not built yet; cond, case, while_loop, map_fn, scan, py_func and custom_gradient are there"
CHECKS = "not built yet; the other assertions are there"
PLACEMENT = "operations are placed on no devices"
STATE = "not built yet; collections, variable scopes and get_variable are there"
DEFAULTS = "initial values of 0 and 1 are written None, and one number stands for all axes"
IMAGES = "tf.image is not built, but for the patches; images are read and changed before they are fed"
FRACTIONAL = "rarely used; its random pooling sequences are those of TensorFlow's kernel alone"
LABELS = "a part of ctc_loss_v2, which came after ctc_loss"
INITIALIZERS = "there are no tables"
OPERATORS = "linear operators are classes over the functions of tf.linalg, which are here"
SAVING = "checkpoints are safetensors files, which train.Saver writes and reads"
OPTIMIZERS = "needs TensorFlow's servers: parallel.mode says how gradients are gathered"
LOCKING = "updates of variables are never concurrent, so there is no use_locking"
UNUSED = "rarely used, and a line of graph where it is"

# Functions whose values or gradients are not TensorFlow's for the arguments of generated.py.
KEEPS = "lists of tensors are packed in their own dtype, and no dtype is changed without cast"
KINDS = "takes no such dtype: what is no number of the right kind is an error here, not cast or counted"
CONJUGATE = "TensorFlow forgets a conjugate in its gradient of complex numbers; ours is that of difference quotients"
SIGNS = "eigenvectors and singular vectors have LAPACK's signs here, Eigen's there"
EARLY = "an axis or a shape that is a tensor has to be known when the graph is built"
READ = "TensorFlow reads the number 1 as its enum of dtypes (float32), or a tensor as the list of its rows"
WIDE = "computed in the dtype of the arguments, where TensorFlow casts to float32"
SUMS = "for labels that do not sum to 1 the gradient is that of the value; TensorFlow's is softmax - labels"
REAL = "of real numbers only"
VALUES = {
    "assert_variables_initialized": "takes variables, whose values have no state of their own",
    **dict.fromkeys((
        "fft", "fft2d", "fft3d", "ifft", "ifft2d", "ifft3d", "logical_and", "logical_not", "logical_or", "logical_xor",
        "math.logical_and", "math.logical_not", "math.logical_or", "math.logical_xor", "reduce_all", "reduce_any",
        "math.reduce_all", "math.reduce_any",
    ), KEEPS),
    **dict.fromkeys((
        "bincount", "math.bincount", "boolean_mask", "where", "where_v2", "div_no_nan", "math.divide_no_nan",
        "reduce_mean", "math.reduce_mean", "math.reduce_euclidean_norm", "nn.leaky_relu",
        "losses.compute_weighted_loss",
    ), KINDS),
    **dict.fromkeys(("bitcast", "cast", "saturate_cast", "dtypes.cast", "dtypes.saturate_cast", "concat", "stack"),
                    READ),
    **dict.fromkeys(("cholesky", "linalg.cholesky", "linalg.logdet"),
                    "a matrix that is not positive definite is an error"),
    **dict.fromkeys(("confusion_matrix", "math.confusion_matrix"), "TensorFlow casts complex classes to integers"),
    **dict.fromkeys((
        "matrix_determinant", "linalg.det", "matrix_square_root", "linalg.sqrtm", "math.multiply_no_nan", "math.xlogy",
        "nn.swish",
    ), CONJUGATE),
    **dict.fromkeys(("self_adjoint_eig", "linalg.eigh", "svd", "linalg.svd"), SIGNS),
    **dict.fromkeys(("qr", "linalg.qr"), "the gradient of a wide matrix is not built"),
    **dict.fromkeys(("required_space_to_batch_paddings", "reverse", "reverse_v2", "roll", "manip.reverse",
                     "manip.roll"), EARLY),
    **dict.fromkeys(("math.l2_normalize", "linalg.l2_normalize", "nn.l2_normalize", "math.reduce_std",
                     "math.reduce_variance"), REAL),
    **dict.fromkeys((
        "losses.absolute_difference", "losses.hinge_loss", "losses.huber_loss", "losses.log_loss",
        "losses.mean_pairwise_squared_error", "losses.mean_squared_error",
    ), WIDE),
    **dict.fromkeys(("nn.softmax_cross_entropy_with_logits_v2", "losses.softmax_cross_entropy"), SUMS),
    **dict.fromkeys(("lin_space", "linspace"), "its ends are numbers, no vectors"),
    "gradients": "gradients of what is no floating point number are an error",
}

MISSING = {
    # newer than 1.15
    **dict.fromkeys((
        "approx_top_k", "*.approx_m*_k", "check_pinned", "conv", "conv2d_backprop_*_v2", "fftnd", "ifftnd", "rfftnd",
        "irfftnd", "math.cumulative_logsumexp", "math.erfcinv", "math.erfinv", "math.ndtri", "math.sobol_sample",
        "math.special", "math.xlog1py", "is_symbolic_tensor", "ragged_*", "random_index_shuffle",
        "tensor_scatter_nd_m*", "linalg.eigh_tridiagonal", "linalg.tridiagonal_matmul",
        "random.create_rng_state", "random.fold_in",
        "random.split", "random.Algorithm", "random.Generator", "random.*_global_generator",
        "random.stateless_binomial", "random.stateless_gamma", "random.stateless_p*", "executing_eagerly_outside_*",
        "type_spec_from_value", "NoneTensorSpec", "mlir", "mixed_precision", "nn.silu", "layers.InputSpec",
        "nn.experimental", "linalg.experimental", "random.experimental", "layers.experimental", "types",
        "debugging.*_traceback_filtering*", "debugging.*able_check_numerics", "nn.ctc_*_v2",
        "nn.scale_regularization_loss", "nn.compute_average_loss", "nn.*_v2",
    ), NEWER),
    # the language
    **dict.fromkeys(("vectorized_map", "CriticalSection", "grad_pass_through", "py_function", "function", "print"),
                    CONTROL),
    **dict.fromkeys(("debugging.assert_shapes", "debugging.experimental"), CHECKS),
    "debugging.*_log_device_placement": PLACEMENT,
    **dict.fromkeys(("VariableA*", "VariableS*", "variable_*", "*partitioner", "create_partitioned_variables",
                     "op_scope", "init_scope", "colocate_with", "container"), STATE),
    **dict.fromkeys(("tables_initializer", "initializers.tables_initializer"), INITIALIZERS),
    "linalg.LinearOperator*": OPERATORS,
    **dict.fromkeys(("guarantee_const", "DType", "dtypes.DType",
                     "register_tensor_conversion_function"), UNUSED),
    # networks
    "nn.quantized*": QUANTISED,
    "nn.fractional_*": FRACTIONAL,
    "image": IMAGES,
    **dict.fromkeys(("nn.ctc_unique_labels", "nn.collapse_repeated"), LABELS),
    # training
    "train.*Optimizer": OPTIMIZERS,
    **dict.fromkeys(("train.*[Cc]heckpoint*", "train.Saver*", "train.init_from_*", "train.warm_start",
                     "train.VocabInfo", "saved_model"), SAVING),
    **dict.fromkeys(("train.*batch*", "train.*producer", "train.limit_epochs", "train.*queue_runner*", "*Queue*",
                     "queue", "train.QueueRunner", "train.match_filenames_once"), QUEUES),
    **dict.fromkeys(("train.*Hook", "train.*Listener", "train.*Session*", "train.Scaffold", "train.Supervisor",
                     "train.basic_train_loop", "train.Coordinator", "train.LooperThread", "train.SecondOrStepTimer",
                     "train.NanLossDuringTrainingError", "*_session_*"), SESSIONS),
    **dict.fromkeys(("train.Cluster*", "train.Job*", "train.Server*", "train.replica_device_setter", "distribute",
                     "*ConditionalAccumulator*"), CLUSTER),
    **dict.fromkeys(("train.*List*", "train.Example", "train.Feature*", "train.SequenceExample",
                     "train.summary_iterator", "train.do_quantize*"), PROTOBUF),
    **dict.fromkeys(("train.sdca_*", "train.experimental"), PLATFORM),
    # beside the language
    **dict.fromkeys(("*string*", "as_string", "dtypes.as_string", "substr", "regex_replace", "reduce_join",
                     "*base64"), STRINGS),
    **dict.fromkeys(("sets", "sets.*"), SETS),
    **dict.fromkeys(("Ragged*", "ragged"), RAGGED),
    **dict.fromkeys(("sparse*", "SparseFeature", "SparseTensorSpec", "serialize_*", "deserialize_*",
                     "convert_to_tensor_or_sparse_tensor"), SPARSE),
    **dict.fromkeys(("quant*", "dequantize", "fake_quant*", "q[iu]*nt*", "dtypes.q*", "QUANTIZED_DTYPES",
                     "dtypes.QUANTIZED_DTYPES"), QUANTISED),
    **dict.fromkeys(("*Reader*", "*Feature", "decode_*", "parse_*", "read_file", "write_file", "matching_files",
                     "python_io", "gfile", "io", "lookup", "feature_column", "*tables*"), FILES),
    **dict.fromkeys(("*Def", "*Proto", "*Options", "*Metadata", "*Value", "*Log", "Event", "LogMessage", "NameAttrList",
                     "TensorInfo", "make_ndarray", "make_tensor_proto"), PROTOBUF),
    **dict.fromkeys(("*able_*", "executing_eagerly", "GradientTape", "control_flow_v2_*", "*Spec", "Module", "compat",
                     "wrap_function"), SWITCH),
    **dict.fromkeys(("*VERSION*", "*FLAG", "MONOLITHIC_BUILD", "app", "audio", "autograph", "config",
                     "distributions", "experimental", "dtypes.experimental", "flags", "keras", "lite", "load_*",
                     "logging", "get_logger", "nest", "NoGradient", "NotDifferentiable", "no_gradient",
                     "RegisterGradient",
                     "nondifferentiable_*", "OpError", "profiler", "raw_ops", "*resource*", "test",
                     "timestamp", "tpu", "user_ops", "*variant", "version", "xla", "DeviceSpec",
                     "fingerprint"), PLATFORM),
}  # fmt: skip

DIFFERS = {
    "Tensor": "tensors are made by operations only",
    "Variable": "its arguments are written out",
    "arg_max": "argmax itself, with the name before the dtype of the result",
    "arg_min": "argmin itself, with the name before the dtype of the result",
    "as_dtype": "its one argument is called value",
    "dtypes.as_dtype": "its one argument is called value",
    **dict.fromkeys(("train.AdamOptimizer", "train.Optimizer"), LOCKING),
    **dict.fromkeys(("random.stateless_normal", "random.stateless_truncated_normal", "random.stateless_uniform"),
                    "an argument that came after 1.15"),
    "convert_to_tensor": "no dtype that is preferred but not needed",
    **dict.fromkeys(("gradients", "hessians"), "operations have no devices, and gradients one way to be added up"),
    "numpy_function": "its three arguments are needed, as in TensorFlow 1.15",
    **dict.fromkeys(("sparse_segment_mean", "sparse_segment_sqrt_n", "sparse_segment_sum"),
                    "sparse_gradient came after TensorFlow 1.15"),
    **dict.fromkeys(("nn.sigmoid_cross_entropy_with_logits", "nn.softmax_cross_entropy_with_logits",
                     "nn.sparse_softmax_cross_entropy_with_logits"),
                    "by keyword only, as TensorFlow enforces with its sentinel"),
    "nn.softmax_cross_entropy_with_logits_v2": "the older name dim is left to softmax_cross_entropy_with_logits",
    "layers.flatten": "channels come last",
    **dict.fromkeys(("scatter_nd_add", "scatter_nd_sub"), "updates of variables are never concurrent; it is accepted"),
    **dict.fromkeys(("nn.conv2d", "nn.conv2d_backprop_filter", "nn.conv2d_backprop_input", "nn.conv3d",
                     "nn.conv3d_backprop_filter", "nn.depthwise_conv2d_backprop_filter",
                     "nn.depthwise_conv2d_backprop_input", "nn.depthwise_conv2d_native",
                     "nn.depthwise_conv2d_native_backprop_filter", "nn.depthwise_conv2d_native_backprop_input"),
                    "dilations of 1 are written None"),
    **dict.fromkeys(("nn.embedding_lookup_sparse", "nn.fused_batch_norm", "nn.safe_embedding_lookup_sparse",
                     "nn.swish", "train.FtrlOptimizer"), "an argument that came after 1.15"),
    **dict.fromkeys(("layers.BatchNormalization", "layers.batch_normalization", "layers.Dense", "layers.dense",
                     "layers.Conv1D", "layers.Conv2D", "layers.Conv3D", "layers.Conv2DTranspose",
                     "layers.SeparableConv1D", "layers.SeparableConv2D", "layers.conv1d", "layers.conv2d",
                     "layers.conv3d", "layers.conv2d_transpose",
                     "layers.Conv3DTranspose", "layers.conv3d_transpose", "layers.separable_conv1d",
                     "layers.separable_conv2d"), DEFAULTS),
    **dict.fromkeys(("get_variable", "get_local_variable"),
                    "variables are in the ranks' planes: there is no synchronization to choose"),
    "custom_gradient": "it decorates a function",
    "train.Saver": "a saver is no protocol buffer",
    "train.update_checkpoint_state": "times of older checkpoints are not kept",
}  # fmt: skip
