"""Configurations: what is accepted, what every fault says and where, what is printed and compared."""

import pickle
import re
import tomllib
from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from paraflow import data, nn
from paraflow.errors import ConfigError, InvalidArgumentError
from paraflow.experiment.config import load_config
from paraflow.experiment.model import CELLS
from paraflow.experiment.model_tables import CNNModel, MLPModel, RNNModel
from paraflow.experiment.schema import Config, shared_leaves, variants
from paraflow.experiment.toml_text import toml_document

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.toml"))
GOOD = """\
[experiment]
name = "x"

[data]
name = "digits"
batch_size = 64

[model]
name = "mlp"
layers = [64, 10]

[optimizer]
name = "adam"
learning_rate = 0.001

[train]
epochs = 2
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(text, *overrides):
    Path("x.toml").write_text(text, encoding="utf-8")
    return load_config("x.toml", overrides)


def faults(text, *overrides):
    with pytest.raises(ConfigError) as caught:
        load(text, *overrides)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_defaults_are_those_of_the_schema(folder):
    config = load(GOOD)
    assert (config.experiment.seed, config.experiment.dtype, config.experiment.directory) == (1, "float32", "runs")
    assert (config.data.shuffle, config.data.last, config.data.prefetch) == (True, "keep", 0)
    assert (config.model.layers, config.model.activation) == ((64, 10), "relu")
    assert (config.optimizer.beta1, config.optimizer.beta2, config.optimizer.epsilon) == (0.9, 0.999, 1e-8)
    assert (config.train.steps, config.train.evaluate_every) == (None, 1)
    assert (config.parallel.mode, config.parallel.bucket_bytes) == ("allreduce", None)


def test_a_configuration_cannot_be_changed(folder):
    with pytest.raises(ValidationError, match="frozen"):
        load(GOOD).train.epochs = 3


def first_difference(one, other):
    ours, theirs = shared_leaves(one), shared_leaves(other)
    return next((key for key in ours | theirs if ours.get(key) != theirs.get(key)), None)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_shipped_configurations_are_valid(path):
    assert load_config(path).experiment.name == path.stem.replace("_", "-")


@pytest.mark.parametrize("stem", ["digits", "fashion_mnist_mlp"])
def test_synchronous_and_asynchronous_configurations_differ_in_one_line(stem):
    sync, asynchronous = (load_config(CONFIGS[0].with_name(f"{stem}_{mode}.toml")) for mode in ("sync", "async"))
    name, mode = "experiment.name", "parallel.mode"
    assert first_difference(sync, asynchronous) == name
    renamed = load_config(CONFIGS[0].with_name(f"{stem}_sync.toml"), [f"{name}={asynchronous.experiment.name}"])
    assert first_difference(renamed, asynchronous) == mode
    changed = [f"{name}={asynchronous.experiment.name}", f"{mode}=parameter_server"]
    assert load_config(CONFIGS[0].with_name(f"{stem}_sync.toml"), changed) == asynchronous


# Each line that replaces one of GOOD, and what is said of it.
FAULTS = [
    ("epochs = 2", 'epochs = "3"', '17: train.epochs = "3": must be a valid integer'),
    ("epochs = 2", "epochs = 2.0", "17: train.epochs = 2.0: must be a valid integer"),
    ("epochs = 2", "epochs = true", "17: train.epochs = true: must be a valid integer"),
    ("epochs = 2", "epochs = 0", "17: train.epochs = 0: must be greater than 0"),
    ("epochs = 2", "evaluate_every = 1", "16: train: needs 'epochs' or 'steps', or training would never end"),
    ("epochs = 2", "epoch = 2", "17: train.epoch = 2: unknown key; did you mean 'epochs'?"),
    (
        "epochs = 2",
        "learning_rate = 2",
        "17: train.learning_rate = 2: unknown key; did you mean 'optimizer.learning_rate'?",
    ),
    ("epochs = 2", "batchsize = 2", "17: train.batchsize = 2: unknown key; did you mean 'data.batch_size'?"),
    (
        "epochs = 2",
        "zzz = 2",
        "17: train.zzz = 2: unknown key; known here: epochs, steps, evaluate_every, log_every",
    ),
    (
        'name = "digits"',
        "name = 'digits'\nbuilder = 'x.toml:f'",
        "5: data.name = \"digits\": stands beside 'builder': give only one",
    ),
    ("epochs = 2", "name = 2", "17: train.name = 2: unknown key; did you mean 'experiment.name' or 'data.name' or "),
    ('name = "digits"', "name = 'npz'\npath = ''", '6: data.path = "": must have at least 1 character'),
    ("[train]", "[trian]", "16: trian: unknown key; did you mean 'train'?"),
    ("[train]", "[trian]", "x.toml: train: missing: How long to train, and how often to look."),
    ("batch_size = 64", "", "4: data.batch_size: missing: samples in a global batch, the sum over all ranks"),
    (
        "batch_size = 64",
        "batch_size = 64\nlast = 'kep'",
        "7: data.last = \"kep\": must be one of 'keep', 'drop'; did you mean 'keep'?",
    ),
    ('name = "x"', 'name = "a b"', '2: experiment.name = "a b": must be made of letters, digits'),
    ('name = "x"', 'name = "../x"', '2: experiment.name = "../x": must be made of letters, digits'),
    ('name = "x"', 'name = "x"\nseed = -1', "3: experiment.seed = -1: must be greater than or equal to 0"),
    (
        'name = "digits"',
        "",
        "4: data: needs a key 'name' (one of 'digits', 'fashion_mnist', 'mnist', 'npz') or 'builder'",
    ),
    ('name = "digits"', 'name = "npz"', "4: data.path: missing: the .npz file"),
    (
        'name = "digits"',
        'name = "digit"',
        "5: data.name = \"digit\": must be one of 'digits', 'fashion_mnist', 'mnist', 'npz' "
        "(or a key 'builder' instead); did you mean 'digits'?",
    ),
    ('name = "digits"', "name = 3", "5: data.name = 3: must be one of"),
    ("layers = [64, 10]", "layers = [64]", "10: model.layers = [64]: must have at least 2 items, not 1"),
    ("layers = [64, 10]", "layers = [64,\n10,\n-1]", "12: model.layers[2] = -1: must be greater than 0"),
    ("layers = [64, 10]", "layers = 64", "10: model.layers = 64: must be an array"),
    ("layers = [64, 10]", "layers = '[a]'", """10: model.layers = "[a]": must be an array; strings in it need"""),
    (
        'name = "adam"',
        'name = "adma"',
        "13: optimizer.name = \"adma\": must be one of 'gradient_descent', 'momentum', 'adagrad', 'adagrad_da', "
        "'adadelta', 'rmsprop', 'adam', 'adamw', 'lars', 'lamb', 'ftrl', 'proximal_gradient_descent', "
        "'proximal_adagrad'; did you mean 'adam'?",
    ),
    ("learning_rate = 0.001", "learning_rate = 0", "14: optimizer.learning_rate = 0: must be greater than 0"),
    ("learning_rate = 0.001", "learning_rate = nan", "14: optimizer.learning_rate = nan: must be a finite number"),
    (
        "learning_rate = 0.001",
        "learning_rate = 1\ndecay = 0.9",
        '15: optimizer.decay = 0.9: no key of [optimizer] with name = "adam", only with name = "rmsprop"',
    ),
    (
        "epochs = 2",
        "epochs = 2\n[parallel]\nmode = 'sync'",
        "19: parallel.mode = \"sync\": must be one of 'single', 'allreduce', 'parameter_server', "
        "'backup_workers'",
    ),
    ("epochs = 2", "epochs = 2\n[parallel]\nservers = 0", "19: parallel.servers = 0: must be greater than 0"),
    ("epochs = 2", "epochs = 2\n[parallel]\nstaleness = -1", "19: parallel.staleness = -1: must be greater than or"),
    ("epochs = 2", "epochs = 2\n[parallel]\nbackup = -1", "19: parallel.backup = -1: must be greater than or equal to"),
    ("epochs = 2", "epochs = 2\n[parallel]\nlate = 'keep'", "19: parallel.late = \"keep\": must be one of 'drop'"),
    (
        "epochs = 2",
        "epochs = 2\n[parallel]\ndelay_compensation = -0.1",
        "19: parallel.delay_compensation = -0.1: must be greater than or equal to",
    ),
    ("[train]\nepochs = 2", "", "x.toml: train: missing"),
    ('name = "mlp"\nlayers = [64, 10]', "builder = 'net'", "9: model.builder = \"net\": must be 'PATH.py:FUNCTION'"),
    ('name = "mlp"', "builder = 'x.toml:f'", "9: model.builder = "),
    ('name = "mlp"\nlayers = [64, 10]', "builder = 'net.py:f'", "9: model.builder = \"net.py:f\": there is no file '"),
]


@pytest.mark.parametrize(("line", "instead", "fault"), FAULTS)
def test_each_fault_names_place_key_value_and_remedy(folder, line, instead, fault):
    assert GOOD.count(line) == 1
    text = faults(GOOD.replace(line, instead))
    expected = fault if fault.startswith("x.toml") else f"x.toml:{fault}"
    assert expected in text


def test_all_faults_are_listed_at_once_in_reading_order(folder):
    text = GOOD.replace("64\n", "-1\n").replace("mlp", "mpl").replace("epochs", "epoch").replace('"x"', "3")
    lines = faults(text, "experiment.sead=3", "nonsense", "optimizer.beta2=2").split("\n  ")
    assert [line.split(": ")[:2] for line in lines] == [
        ["7 faults:"],
        ["x.toml:2", "experiment.name = 3"],
        ["x.toml:6", "data.batch_size = -1"],
        ["x.toml:9", 'model.name = "mpl"'],
        ["x.toml:17", "train.epoch = 2"],
        ["command line, argument 2", "experiment.sead = 3"],
        ["command line, argument 3", "'nonsense'"],
        ["command line, argument 4", "optimizer.beta2 = 2"],
    ]


def test_a_wrong_name_hides_no_other_fault_of_its_table(folder):
    text = GOOD.replace('"digits"', '"digit"').replace("64\n\n[model]", '"64"\n\n[model]')
    text = text.replace('"adam"', '"adagrat"').replace("learning_rate", "beta1 = 0.9\nlearning_rate")
    assert faults(text).splitlines()[1:] == [
        "  x.toml:5: data.name = \"digit\": must be one of 'digits', 'fashion_mnist', 'mnist', 'npz' "
        "(or a key 'builder' instead); did you mean 'digits'?",
        '  x.toml:6: data.batch_size = "64": must be a valid integer',
        "  x.toml:13: optimizer.name = \"adagrat\": must be one of 'gradient_descent', 'momentum', 'adagrad', "
        "'adagrad_da', 'adadelta', 'rmsprop', 'adam', 'adamw', 'lars', 'lamb', 'ftrl', 'proximal_gradient_descent', "
        "'proximal_adagrad'; did you mean 'adagrad'?",
        "  x.toml:14: optimizer.beta1 = 0.9: no key of [optimizer] with name = \"adagrad\", only with name = \"adam\" "
        'or name = "adamw" or name = "lamb"',
    ]


def test_clipping_by_the_norm_of_all_gradients_needs_them_in_one_place(folder):
    text = GOOD.replace("learning_rate", "clip_norm = 2.5\nlearning_rate")
    text += '[parallel]\nmode = "parameter_server"\nservers = 2\n'
    assert faults(text) == (
        "x.toml:14: optimizer.clip_norm = 2.5: needs all gradients in one place, but parallel.servers = 2 share them "
        "out: set it to 1"
    )


def test_a_word_that_is_like_none_is_answered_with_no_guess(folder):
    known = "known here: experiment, data, model, optimizer, train, parallel, compiler"
    assert faults(GOOD + "[extra]\n").endswith(f"x.toml:18: extra: unknown key; {known}")


def test_a_long_value_is_cut(folder):
    (value,) = re.findall("name = (.*?): must", faults(GOOD.replace('"x"', f'"{"a b" * 100}"')))
    assert len(value) == 60


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[a]\nb = \n", "x.toml:2:5: Invalid value in 'b ='"),
        ("[a]\nb = [1,", "x.toml:2:8: Invalid value in 'b = [1,'"),
        ("[a]\nb = '''x", "x.toml:2:9: "),
        ("a = 1\n[a]\n", "x.toml:2:"),
        ("a = 1\r\na = 2\r\n", "x.toml:2:"),
    ],
)
def test_syntax_errors_name_line_and_column(folder, text, fault):
    assert faults(text).startswith(fault)


def test_text_that_is_not_utf8_is_refused_with_its_line(folder):
    Path("x.toml").write_bytes(b"[a]\nb = '\xff'\n")
    with pytest.raises(ConfigError, match=r"^x\.toml:2: not valid UTF-8$"):
        load_config("x.toml")


def test_a_missing_file_is_named_with_a_similar_one(folder):
    Path("digits_sync.toml").write_text(GOOD)
    with pytest.raises(ConfigError, match=r"file 'digit_sync.toml'; did you mean 'digits_sync.toml'"):
        load_config("digit_sync.toml")
    with pytest.raises(ConfigError, match=r"no configuration file 'there/x.toml'; there is no folder 'there'$"):
        load_config("there/x.toml")
    with pytest.raises(ConfigError, match="Is a directory"):
        load_config(folder)


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("train.epochs=3", lambda config: config.train.epochs == 3),
        (" train . epochs = 3", lambda config: config.train.epochs == 3),
        ("train.steps=1_000", lambda config: config.train.steps == 1000),
        ("optimizer.learning_rate=1e-2", lambda config: config.optimizer.learning_rate == 0.01),
        ("data.shuffle=false", lambda config: config.data.shuffle is False),
        ("model.layers=[64, 3, 10]", lambda config: config.model.layers == (64, 3, 10)),
        ("parallel.mode=single", lambda config: config.parallel.mode == "single"),
        ('parallel.mode="single"', lambda config: config.parallel.mode == "single"),
        ("experiment.directory=a=b", lambda config: config.experiment.directory == "a=b"),
        ("experiment.directory=", lambda config: False),
        ("optimizer={name='momentum', learning_rate=1}", lambda config: config.optimizer.momentum == 0.9),
    ],
)
def test_overrides_are_toml_or_bare_strings(folder, override, read):
    if override.endswith("="):
        assert "argument 2: experiment.directory = \"\": must have at least 1" in faults(GOOD, override)
    else:
        assert read(load(GOOD, override))


def test_the_last_override_of_a_key_wins(folder):
    assert load(GOOD, "train.epochs=3", "train.epochs=4").train.epochs == 4


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        ("train.epochs", "'train.epochs': not of the form key=value"),
        ("=3", "'' is not a key of the form table.key"),
        ("train.=3", "'train.' is not a key of the form table.key"),
        ("a\nb=3", "is not a key of the form table.key"),
        ("train.epochs.x=3", "'train.epochs' is a value, not a table"),
        ("train.epochs=3\n[parallel]", 'train.epochs = "3\\n[parallel]": must be a valid integer'),
        ("train.epochs=3x", 'train.epochs = "3x": must be a valid integer'),
        ("train.epohcs=3", "train.epohcs = 3: unknown key; did you mean 'epochs'?"),
        ("epochs=3", "epochs = 3: unknown key; did you mean 'train.epochs'?"),
        ("train=3", "train = 3: must be a table"),
        ("train={}", "train: needs 'epochs' or 'steps'"),
        ("optimizer={name='adam'}", "optimizer.learning_rate: missing: step size"),
        ("experiment.name=\udc80", "not valid UTF-8"),
    ],
)
def test_faults_of_overrides_name_the_argument(folder, override, fault):
    text = faults(GOOD, "train.log_every=1", override)
    assert text.startswith("command line, argument 3: ")
    assert fault in text
    text.encode()


def test_files_to_read_are_found_from_where_they_are_named(folder):
    (folder / "deep").mkdir()
    for path in ("net.py", "deep/net.py", "deep/a.npz"):
        (folder / path).touch()
    text = GOOD.replace('name = "digits"', 'name = "npz"\npath = "a.npz"')
    text = text.replace('name = "mlp"\nlayers = [64, 10]', 'builder = "net.py:build"')
    (folder / "deep/x.toml").write_text(text)
    config = load_config("deep/x.toml")
    assert (config.data.path, config.model.builder) == (f"{folder}/deep/a.npz", f"{folder}/deep/net.py:build")
    config = load_config("deep/x.toml", ["model.builder=net.py:build", "data.path=deep/../deep/a.npz"])
    assert (config.data.path, config.model.builder) == (f"{folder}/deep/a.npz", f"{folder}/net.py:build")
    with pytest.raises(ConfigError, match=r"data.path = \"b.npz\": there is no file '.*/b.npz'"):
        load_config("deep/x.toml", ["data.path=b.npz"])


BUILT = GOOD.replace('name = "mlp"\nlayers = [64, 10]', 'builder = "net.py:build"') + """
[model.options]
width = 3
"a b" = [{ c = 1979-05-27, d = "\\u007f\\"é" }]
[model.options.deep.er]
x = 1e-300
"""


@pytest.mark.parametrize("path", [None, *CONFIGS], ids=lambda path: path and path.name)
@pytest.mark.parametrize(
    "override", ["train.steps=7", "optimizer.learning_rate=1", "experiment.directory='a \\ \"b\"'"]
)
def test_a_printed_configuration_is_the_same_configuration(folder, path, override):
    Path("net.py").touch()
    config = load(BUILT, override) if path is None else load_config(path, [override])
    printed = toml_document(config)
    assert load(printed) == config
    assert toml_document(load(printed)) == printed


def test_a_printed_configuration_explains_every_key(folder):
    printed = toml_document(load(GOOD))
    assert "\nbatch_size = 64  # samples in a global batch, the sum over all ranks\n" in printed
    assert all(" # " in line for line in printed.splitlines() if " = " in line)
    assert set(tomllib.loads(printed)) == set(Config.model_fields)


def test_every_key_of_the_schema_has_a_description():
    for table, field in Config.model_fields.items():
        assert field.description, table
        for model in variants(table).values():
            assert all(key.description for key in model.model_fields.values()), model


def choices(model, key):
    return get_args(model.model_fields[key].annotation)


def test_the_choices_of_the_schema_exist():
    for model in (MLPModel, CNNModel):
        assert all(callable(getattr(nn, name)) for name in choices(model, "activation"))
        assert all(callable(getattr(nn.initializers, name)) for name in choices(model, "initializer"))
    assert set(choices(RNNModel, "cell")) == set(CELLS)
    with pytest.raises(InvalidArgumentError) as caught:
        data.load("")
    known = re.findall(r"\w+", str(caught.value).partition("there are ")[2])
    assert set(known) == set(variants("data")) - {"builder"}


def test_ranks_can_send_configurations_to_one_another(folder):
    assert pickle.loads(pickle.dumps(load(GOOD))) == load(GOOD)


def test_ranks_agree_wherever_their_files_lie(folder):
    for host in ("one", "two"):
        (folder / host).mkdir()
        (folder / host / "net.py").touch()
        (folder / host / "x.toml").write_text(BUILT)
    one = load_config("one/x.toml", ["experiment.directory=/scratch/one"])
    two = load_config("two/x.toml")
    assert one != two
    assert shared_leaves(one) == shared_leaves(two)


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (["train.epochs=3"], "train.epochs"),
        (["train.steps=3"], "train.steps"),
        (["parallel.mode=single", "experiment.seed=2"], "experiment.seed"),
        (["model.options.deep.er.x=0"], "model.options.deep.er.x"),
        (["model.options.'a b'=[]"], 'model.options."a b"'),
        (["model.options.width=3.0"], "model.options.width"),
        (["model.options.new=nan"], "model.options.new"),
        (["model.builder=net.py:other"], "model.builder"),
        (["optimizer={name='momentum', learning_rate=0.001}"], "optimizer.name"),
    ],
)
def test_the_first_key_that_differs_is_named(folder, overrides, key):
    Path("net.py").touch()
    one, other = load(BUILT), load(BUILT, *overrides)
    assert first_difference(one, other) == first_difference(other, one) == key


def test_the_order_of_keys_in_a_file_makes_no_difference(folder):
    Path("net.py").touch()
    text = BUILT + "\n[model.options.more]\na = 1\nb = 2\n"
    other = BUILT + "\n[model.options.more]\nb = 2\na = 1\n"
    assert list(shared_leaves(load(text)).items()) == list(shared_leaves(load(other)).items())
    parts = GOOD.split("\n\n")
    assert list(shared_leaves(load("\n\n".join(reversed(parts)))).items()) == list(shared_leaves(load(GOOD)).items())
