"""Writes tf_values.npz: what TensorFlow's functions and their gradients give for the arguments of generated.py.

Run it where TensorFlow is installed (the tests need only the file): ``python -m language.make_tf_values`` in tests/.
Words after the command restrict it to symbols that begin with one of them; what the file has of others is kept.
In ``index`` a line is ``symbol|letters|outputs|gradients``, the last two the dtypes and shapes of the parts, or ``-``
where TensorFlow has no gradient; ``values`` has all parts one after the other as float32.
"""

import multiprocessing
import os
import sys
from pathlib import Path

os.environ |= {"TF_USE_LEGACY_KERAS": "1", "TF_ENABLE_ONEDNN_OPTS": "0", "TF_CPP_MIN_LOG_LEVEL": "3"}

import numpy as np
import tensorflow.compat.v1 as tf

from . import generated
from .signatures import reference

PROCESSES = multiprocessing.get_context("fork")
SECONDS = 15  # for the arguments of one function


def found(symbol):
    thing = tf
    for part in symbol.split("."):
        thing = getattr(thing, part)
    return thing


def evaluate(function, letters):
    """Outputs, and gradients or None; raises what TensorFlow raises."""
    with tf.Graph().as_default(), tf.Session() as session:
        made, tensors = generated.arguments(letters, lambda a: tf.placeholder(a.dtype, a.shape), tf.SparseTensor)
        outputs = generated.flat(function(*made))
        feeds = {t: generated.array_of(letter) for letter, t in tensors.items()}
        if not outputs or any(not (y.dtype.is_bool or y.dtype.is_integer or differentiable(y)) for y in outputs):
            raise TypeError("no numbers")
        values, again = session.run(outputs, feeds), session.run(outputs, feeds)
        same = (np.array_equal(a, b, a.dtype.kind in "fc") for a, b in zip(values, again, strict=True))
        if sum(v.size for v in values) > 200 or not all(same):
            raise TypeError("too large, or different each time")
        ys = [(y, v) for y, v in zip(outputs, values, strict=True) if differentiable(y)]
        xs = [t for t in tensors.values() if differentiable(t)]
        if not xs or not ys:
            return values, None
        try:
            slopes = tf.gradients([y for y, _ in ys], xs, [tf.constant(generated.weight(v)) for _, v in ys])
            return values, [None if g is None else session.run(tf.convert_to_tensor(g), feeds) for g in slopes]
        except Exception:  # no gradient is registered
            return values, None


def differentiable(tensor):
    return tensor.dtype.is_floating or tensor.dtype.is_complex


def parts_of(function, count, sparse):
    """(letters, outputs, gradients) of the first arguments that the function takes."""
    kept = 0
    for letters in generated.combinations(count, sparse):
        try:
            yield letters, *evaluate(function, letters)
        except Exception:
            continue
        kept += 1
        if kept == generated.LIMIT:
            return


def send(function, count, sparse, pipe):
    tf.disable_eager_execution()
    tf.disable_control_flow_v2()
    for letters, outputs, slopes in parts_of(function, count, sparse):
        dense = slopes if slopes is None else [None if g is None else np.asarray(g) for g in slopes]
        pipe.send((letters, [np.asarray(v) for v in outputs], dense))
    pipe.send(None)


def tried(function, count, sparse):
    """What `parts_of` yields in a process of its own, as TensorFlow itself ends at some arguments."""
    ours, theirs = PROCESSES.Pipe(False)
    process = PROCESSES.Process(target=send, args=(function, count, sparse, theirs))
    process.start()
    theirs.close()
    found_uses = []
    try:
        while ours.poll(SECONDS) and (use := ours.recv()) is not None:
            found_uses.append(use)
    except EOFError:
        pass
    process.kill()
    process.join()
    return found_uses


def kept(path, words):
    """What the file has of symbols that begin with none of ``words``: its lines, and their numbers."""
    index, values, offset = [], [], 0
    file = np.load(path)
    for line in str(file["index"]).splitlines():
        kinds = [k for part in line.split("|")[2:] if part != "-" for k in part.split(";") if k != "None"]
        count = sum(map(generated.count, kinds))
        if not line.startswith(words):
            index.append(line)
            values.append(file["values"][offset : offset + count])
        offset += count
    return index, values


def main():
    path, words, seen = Path(__file__).with_name("tf_values.npz"), tuple(sys.argv[1:]), {}
    index, values = kept(path, words) if words else ([], [])
    for symbol, parameters in reference():
        if words and not symbol.startswith(words):
            continue
        namespace = symbol.rpartition(".")[0]
        sparse = generated.of_sparse(symbol)
        left = not sparse and (namespace not in generated.NAMESPACES or symbol.startswith(generated.LEFT))
        if left or parameters is None or symbol[:1].isupper() or not callable(found(symbol)):
            continue
        count = generated.needed(parameters)
        if count is None or isinstance(found(symbol), type):
            continue
        key = id(found(symbol))
        if key not in seen:
            seen[key] = tried(found(symbol), count, sparse)
        for letters, outputs, slopes in seen[key]:
            gradients = "-" if slopes is None else ";".join(map(generated.kind, slopes))
            index.append(f"{symbol}|{letters}|{';'.join(map(generated.kind, outputs))}|{gradients}")
            values += [generated.numbers(p) for p in (*outputs, *(slopes or ())) if p is not None]
        print(symbol, [letters for letters, _, _ in seen[key]], file=sys.stderr, flush=True)
    np.savez_compressed(path, index="\n".join(index), values=np.concatenate(values))
    functions = {line.partition("|")[0] for line in index}
    print(f"{len(index)} uses of {len(functions)} functions of TensorFlow {tf.__version__}")


if __name__ == "__main__":
    main()
