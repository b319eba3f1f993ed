"""Names of TensorFlow 1 that its programs use and paraflow does not have, with the reason or what serves instead.

Whoever asks for one is told; see ``__getattr__`` of `paraflow`, `paraflow.train` and `paraflow.data`.
"""

SWITCH = "switches TensorFlow to its second version; there is one kind of graph, session and variable here"
FILES = "reading and decoding of files: pf.data has datasets, sources and batches"
STRINGS = "there are no tensors of strings: text becomes numbers before it is fed"
RAGGED = "there are no ragged tensors: sparse tensors or lengths say where rows end"
SETS = "there are no sets in rows: compare one_hot codes, or give np.intersect1d and the like to py_func"
QUANTISED = "there are no quantised dtypes"
PROTOBUF = "graphs, configurations and summaries are no protocol buffers here"
PLATFORM = "compilers and devices of TensorFlow's own; paraflow compiles plans for CPUs"
KERAS = "a library of its own, beside the graph; layers, losses, metrics and train build and train networks"
OTHERS = "a part of another package that TensorFlow left: distributions are written of random numbers and lgamma"
CONFIGURED = "Session(threads=...), ConfigProto and CompilerOptions say how a session runs"
PROFILES = "session.trace, train.trace and paraflow graph --time show what each operation takes"
QUEUES = "queues and their runners: pf.data.Batches gives each rank its part of a batch"
SESSIONS = "train.MonitoredTrainingSession, which came after it, does the same"
CLUSTER = "clusters of TensorFlow servers: ranks are MPI processes, parallel.mode says what they do"
IMAGES = "images are read and changed as arrays before they are fed; extract_image_patches and pooling are there"
INITIALIZERS = "there are no tables: a dictionary turns words into numbers before they are fed"
EAGER = "its function computes on eager tensors; py_func gives it arrays, and custom_gradient a gradient"
FUNCTION = "a Python function adds operations to the graph when it is called; it needs no decorator"
PARTS = "a node has every variable once, in shared memory, and it is not partitioned: leave the partitioner out"
NO_GRADIENT = "an operation of one's own (paraflow.op) without a gradient rule has none; stop_gradient cuts one off"
KERNELS = "paraflow.native_kernel compiles and loads operations in C and C++"
TESTING = "unittest or pytest serve; paraflow.testing.check_op tests operations"
SAVING = "checkpoints are safetensors files of variables by name: train.Saver writes, restores and lists them"
OPTIMIZERS = "needs TensorFlow's servers: parallel.mode says how gradients are gathered"
CONTRIB = "left TensorFlow after 1.15; layers.layer_norm, nn.ctc_loss, train.LAMBOptimizer and parallel are here"
ESTIMATORS = "the trainer (paraflow run) trains a model.builder; a script has a loop of its own around Session"

ABSENT = {
    "audio": FILES,
    "autograph": FUNCTION,
    "config": CONFIGURED,
    "contrib": CONTRIB,
    "data.FixedLengthRecordDataset": FILES,
    "data.Iterator": QUEUES,
    "data.TFRecordDataset": FILES,
    "data.TextLineDataset": FILES,
    "data.experimental": QUEUES,
    "distribute": CLUSTER,
    "distributions": OTHERS,
    "estimator": ESTIMATORS,
    "feature_column": FILES,
    "function": FUNCTION,
    "image": IMAGES,
    "io": FILES,
    "keras": KERAS,
    "lite": PLATFORM,
    "lookup": FILES,
    "profiler": PROFILES,
    "py_function": EAGER,
    "python_io": FILES,
    "queue": QUEUES,
    "RaggedTensor": RAGGED,
    "ragged": RAGGED,
    "saved_model": SAVING,
    "sets": SETS,
    "strings": STRINGS,
    "tables_initializer": INITIALIZERS,
    "test": TESTING,
    "tpu": PLATFORM,
    "xla": PLATFORM,
    "train.Example": PROTOBUF,
    "train.Features": PROTOBUF,
    "train.QueueRunner": QUEUES,
    "train.Server": CLUSTER,
    "train.ClusterSpec": CLUSTER,
    "train.replica_device_setter": CLUSTER,
    "train.Supervisor": SESSIONS,
    "train.SyncReplicasOptimizer": OPTIMIZERS,
    "train.Checkpoint": SAVING,
    **dict.fromkeys(("FIFOQueue", "PaddingFIFOQueue", "PriorityQueue", "QueueBase", "RandomShuffleQueue"), QUEUES),
    **dict.fromkeys(("FixedLenFeature", "VarLenFeature", "TFRecordReader", "TextLineReader", "WholeFileReader",
                     "decode_csv", "decode_raw", "matching_files", "parse_example", "parse_single_example",
                     "read_file", "write_file"), FILES),
    **dict.fromkeys(("GradientTape", "enable_eager_execution", "enable_v2_behavior", "Module"), SWITCH),
    **dict.fromkeys(("GraphDef", "Event"), PROTOBUF),
    **dict.fromkeys(("NoGradient", "NotDifferentiable", "no_gradient"), NO_GRADIENT),
    **dict.fromkeys(("as_string", "reduce_join", "regex_replace", "string", "string_join", "string_split",
                     "string_strip", "string_to_hash_bucket", "string_to_hash_bucket_fast", "string_to_number",
                     "substr"), STRINGS),
    **dict.fromkeys(("fixed_size_partitioner", "min_max_variable_partitioner",
                     "variable_axis_size_partitioner"), PARTS),
    **dict.fromkeys(("load_op_library", "load_library", "user_ops"), KERNELS),
    **dict.fromkeys(("quantize", "dequantize", "quantization", "qint8", "quint8", "qint32"), QUANTISED),
    **dict.fromkeys(("train.batch", "train.batch_join", "train.input_producer", "train.shuffle_batch",
                     "train.slice_input_producer", "train.start_queue_runners", "train.string_input_producer",
                     "train.limit_epochs", "train.match_filenames_once", "train.add_queue_runner"), QUEUES),
}  # fmt: skip


def refusal(module: str, name: str) -> AttributeError:
    """The error that the module ``paraflow`` or ``paraflow.PART`` has no ``name``, with what is said of it here."""
    symbol = f"{module}.{name}".removeprefix("paraflow.")
    told = f"; TensorFlow's tf.{symbol} is not here: {ABSENT[symbol]}" if symbol in ABSENT else ""
    return AttributeError(f"module {module!r} has no attribute {name!r}{told}")
