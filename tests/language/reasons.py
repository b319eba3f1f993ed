"""Why symbols of TensorFlow 1 are missing in paraflow or take other arguments (see symbols.py).

MISSING has patterns, the first that fits counts; test_symbols.py asks for a reason for every missing symbol, and that
no line speaks of a symbol that is there, so whoever adds one takes its line out.
"""

from paraflow.absent import (
    CLUSTER,
    CONFIGURED,
    EAGER,
    FILES,
    FUNCTION,
    IMAGES,
    INITIALIZERS,
    KERAS,
    KERNELS,
    NO_GRADIENT,
    OPTIMIZERS,
    OTHERS,
    PARTS,
    PLATFORM,
    PROFILES,
    PROTOBUF,
    QUANTISED,
    QUEUES,
    RAGGED,
    SAVING,
    SESSIONS,
    SETS,
    STRINGS,
    SWITCH,
    TESTING,
)

NEWER = "came after TensorFlow 1.15"
CROSSES = "crosses of features are for feature columns, and strings: features are made before they are fed"
SERIALISED = "a tensor as a string: there are none, and ranks exchange arrays"
SPECS = "describes what tf.function and tf.data take; placeholders have dtypes and shapes"
RAW = "operations are called by their own names"
HANDLES = "values stay in a session as variables, and there are no tensors of handles"
BESIDE = "importlib.resources and __file__ find files beside a program"
DEVICES = "names of devices are strings, see device"
SDCA = "TensorFlow's own solver for linear models; train.FtrlOptimizer and train.Proximal* regularise these"
PLACEMENT = "operations are placed on no devices"
DEFAULTS = "initial values of 0 and 1 are written None, and one number stands for all axes"
FRACTIONAL = "its regions are drawn by a sequence of TensorFlow's kernel alone; avg_pool and max_pool have fixed ones"
OPERATORS = "linear operators are classes over the functions of tf.linalg, which are here"
ALONE = "a run's effects are in program order, so nothing is concurrent: call the function itself"
CREATORS = "variable_scope(custom_getter=...) is asked for every variable of get_variable and of layers"
REPLICAS = "parallel.mode says how the ranks' values of a variable are kept equal"
RESOURCES = "a session's variables are its own: no server has containers that sessions would share"
CONSTANTS = "the compiler folds what depends on constants alone; identity is the same"
CONVERSION = "a class says by a method __tensor__() which tensor stands for it"
ROWS = "map_fn gives the same values; it takes the rows one after the other"
CLOCK = "time.time() between runs: an operation would give each rank another value"
VERSION = "of TensorFlow; paraflow's own is importlib.metadata.version('paraflow')"
COMPATIBLE = "graphs need no versions to be compatible with: files of earlier versions are read"
LOCKING = "updates of variables are never concurrent, so there is no use_locking"

# Functions whose values or gradients are not TensorFlow's for the arguments of generated.py.
KEEPS = "a list of tensors has their dtype, and becomes complex or bool by cast only"
KINDS = "counts integers: floats have to be cast, which says what becomes of fractions"
CONJUGATE = "TensorFlow forgets a conjugate in its gradient of complex numbers; ours is that of difference quotients"
SIGNS = "eigenvectors and singular vectors have LAPACK's signs here, Eigen's there"
EARLY = "an axis or a shape that is a tensor has to be known when the graph is built"
READ = "TensorFlow reads the number 1 as its enum of dtypes (float32)"
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
    **dict.fromkeys(("bincount", "math.bincount"), KINDS),
    **dict.fromkeys(("div_no_nan", "math.divide_no_nan"), "takes no integers, as TensorFlow 1.15 took none"),
    **dict.fromkeys(("bitcast", "cast", "saturate_cast", "dtypes.cast", "dtypes.saturate_cast"), READ),
    **dict.fromkeys(("cholesky", "linalg.cholesky", "linalg.logdet"),
                    "a matrix that is not positive definite is an error"),
    **dict.fromkeys(("confusion_matrix", "math.confusion_matrix"), "TensorFlow casts complex classes to integers"),
    **dict.fromkeys((
        "matrix_determinant", "linalg.det", "matrix_square_root", "linalg.sqrtm", "math.multiply_no_nan", "math.xlogy",
        "nn.swish",
    ), CONJUGATE),
    **dict.fromkeys(("self_adjoint_eig", "linalg.eigh", "svd", "linalg.svd"), SIGNS),
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
    **dict.fromkeys(("sparse_concat", "sparse.concat"), "TensorFlow has no gradient; ours is that of the values"),
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
    "vectorized_map": ROWS,
    "CriticalSection": ALONE,
    "py_function": EAGER,
    "function": FUNCTION,
    "debugging.experimental": SWITCH,
    "debugging.*_log_device_placement": PLACEMENT,
    **dict.fromkeys(("VariableA*", "VariableS*"), REPLICAS),
    **dict.fromkeys(("*partitioner", "create_partitioned_variables"), PARTS),
    "variable_creator_scope": CREATORS,
    "container": RESOURCES,
    "guarantee_const": CONSTANTS,
    "register_tensor_conversion_function": CONVERSION,
    **dict.fromkeys(("NoGradient", "NotDifferentiable", "no_gradient"), NO_GRADIENT),
    **dict.fromkeys(("tables_initializer", "initializers.tables_initializer"), INITIALIZERS),
    "linalg.LinearOperator*": OPERATORS,
    # networks
    "nn.quantized*": QUANTISED,
    "nn.fractional_*": FRACTIONAL,
    "image": IMAGES,
    # training
    "train.*Optimizer": OPTIMIZERS,
    **dict.fromkeys(("train.*[Cc]heckpoint*", "train.Saver*", "train.VocabInfo", "saved_model"), SAVING),
    **dict.fromkeys(("train.*batch*", "train.*producer", "train.limit_epochs", "train.*queue_runner*", "*Queue*",
                     "queue", "train.QueueRunner", "train.match_filenames_once"), QUEUES),
    **dict.fromkeys(("train.SessionManager", "train.Supervisor", "train.basic_train_loop"), SESSIONS),
    "*_session_*": HANDLES,
    **dict.fromkeys(("train.Cluster*", "train.Job*", "train.Server*", "train.replica_device_setter", "distribute",
                     "*ConditionalAccumulator*"), CLUSTER),
    **dict.fromkeys(("train.*List*", "train.Example", "train.Feature*", "train.SequenceExample",
                     "train.summary_iterator", "train.do_quantize*"), PROTOBUF),
    "train.sdca_*": SDCA,
    "train.experimental": SWITCH,
    # beside the language
    **dict.fromkeys(("*string*", "as_string", "dtypes.as_string", "substr", "regex_replace", "reduce_join",
                     "*base64"), STRINGS),
    **dict.fromkeys(("sets", "sets.*"), SETS),
    **dict.fromkeys(("Ragged*", "ragged"), RAGGED),
    **dict.fromkeys(("serialize_*", "deserialize_*"), SERIALISED),
    "sparse.cross*": CROSSES,
    "SparseTensorSpec": SPECS,
    "sparse.bincount": NEWER,
    **dict.fromkeys(("quant*", "dequantize", "fake_quant*", "q[iu]*nt*", "dtypes.q*", "QUANTIZED_DTYPES",
                     "dtypes.QUANTIZED_DTYPES"), QUANTISED),
    **dict.fromkeys(("*Reader*", "*Feature", "decode_*", "parse_*", "read_file", "write_file", "matching_files",
                     "python_io", "io", "lookup", "feature_column", "*tables*"), FILES),
    **dict.fromkeys(("*Def", "*Proto", "*Options", "*Metadata", "*Value", "*Log", "Event", "LogMessage", "NameAttrList",
                     "TensorInfo", "make_ndarray", "make_tensor_proto"), PROTOBUF),
    **dict.fromkeys(("*able_*", "GradientTape", "control_flow_v2_*", "*Spec", "Module", "wrap_function"), SWITCH),
    **dict.fromkeys(("*VERSION*", "*FLAG", "MONOLITHIC_BUILD", "version"), VERSION),
    **dict.fromkeys(("load_*", "user_ops"), KERNELS),
    "test": TESTING,
    "timestamp": CLOCK,
    **dict.fromkeys(("compat.forward_*", "compat.v2"), COMPATIBLE),
    "audio": FILES,
    "autograph": FUNCTION,
    "config": CONFIGURED,
    "distributions": OTHERS,
    "keras": KERAS,
    "profiler": PROFILES,
    "raw_ops": RAW,
    "resource_loader": BESIDE,
    **dict.fromkeys(("resource", "dtypes.resource", "*variant"), HANDLES),
    "DeviceSpec": DEVICES,
    "fingerprint": STRINGS,
    "nondifferentiable_*": NO_GRADIENT,
    **dict.fromkeys(("experimental", "dtypes.experimental"), SWITCH),
    **dict.fromkeys(("lite", "tpu", "xla"), PLATFORM),
}  # fmt: skip

DIFFERS = {
    **dict.fromkeys(("DType", "dtypes.DType"), "the class of numpy's dtypes"),
    "OpError": "its arguments are TensorFlow's, or a message alone",
    **dict.fromkeys(("nest.assert_same_structure", "nest.flatten", "nest.pack_sequence_as"),
                    "sparse tensors are leaves: there is nothing to expand"),
    "Tensor": "tensors are made by operations only",
    "Variable": "its arguments are written out",
    "arg_max": "argmax itself, with the name before the dtype of the result",
    "arg_min": "argmin itself, with the name before the dtype of the result",
    "as_dtype": "its one argument is called value",
    "dtypes.as_dtype": "its one argument is called value",
    **dict.fromkeys(("train.AdamOptimizer", "train.Optimizer"), LOCKING),
    **dict.fromkeys(("random.stateless_normal", "random.stateless_truncated_normal", "random.stateless_uniform"),
                    "an argument that came after 1.15"),
    **dict.fromkeys(("gradients", "hessians"), "operations have no devices, and gradients one way to be added up"),
    "numpy_function": "its three arguments are needed, as in TensorFlow 1.15",
    **dict.fromkeys(("sparse_segment_mean", "sparse_segment_sqrt_n", "sparse_segment_sum", "sparse.segment_mean",
                     "sparse.segment_sqrt_n", "sparse.segment_sum"), "sparse_gradient came after TensorFlow 1.15"),
    **dict.fromkeys(("sparse_split", "sparse.split"), "by keyword only, as TensorFlow enforces with its sentinel"),
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
