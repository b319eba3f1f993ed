"""What ranks that share planes have to do, as functions of a communicator; run as a script they run on world().

Every rank computes what it expects by itself, in one process or in closed form.
"""

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import paraflow as pf
from paraflow.comm import Communicator, world
from paraflow.errors import RanksDisagree
from paraflow.parallel import AllReduce
from paraflow.runtime.reduction import Reduction

Train = Callable[[pf.Session, Any, Any, Any], list[Any]]


def samples_of(rank: int, step: int) -> int:
    """Very uneven shards: in turn one rank has many samples, one has none and the others a few."""
    turn = (rank + step) % 3
    return (200, 0, 3)[turn] if step % 2 else (1, 40, 2)[turn]


def batch(ranks: list[int], step: int) -> tuple[np.ndarray, np.ndarray]:
    """The features and targets of some ranks in a step."""
    parts = []
    for rank in ranks:
        rng = np.random.default_rng([rank, step])
        parts.append((rng.normal(size=(samples_of(rank, step), 20)), rng.normal(size=(samples_of(rank, step), 3))))
    return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])


def regression(widths: tuple[int, ...] = (50, 30, 3)) -> tuple[Any, Any, Any]:
    """A small network in float64: features, targets, loss."""
    pf.set_random_seed(4)
    x, y = pf.placeholder(pf.float64, (None, 20), name="x"), pf.placeholder(pf.float64, (None, 3), name="y")
    return x, y, pf.reduce_mean(pf.square(pf.layers.mlp(x, list(widths), activation=pf.nn.tanh) - y))


def plain(optimizer: Any, loss: Any) -> Any:
    return optimizer.minimize(loss)


def clipped(optimizer: Any, loss: Any) -> Any:
    """Clipping by the global norm of the averages."""
    pairs = optimizer.compute_gradients(loss)
    gradients, norm = pf.clip_by_global_norm([g for g, _ in pairs], 0.05)
    pf.identity(norm, name="norm")
    return optimizer.apply_gradients([(g, v) for g, (_, v) in zip(gradients, pairs, strict=True)])


def scaled_by_statistics(optimizer: Any, loss: Any) -> Any:
    """Every kind of reduction of averages and variables: among them one of a whole gradient that is used by others."""
    pairs = optimizer.compute_gradients(loss)
    first = pairs[0][0]
    scale = 1.0 + pf.reduce_max(first) - pf.reduce_min(first) + pf.reduce_mean(pf.abs(pairs[-1][1] * 2.0))
    return optimizer.apply_gradients([(g / (scale + pf.reduce_sum(pf.square(g * scale))), v) for g, v in pairs])


def trained(
    strategy: AllReduce | None, ranks: list[int], build: Any = plain, steps: int = 12, optimizer: Any = None,
    **options: Any,
) -> Any:  # fmt: skip
    """The variables after training on the samples of ``ranks``."""
    with pf.Graph().as_default():
        x, y, loss = regression()
        step = build(optimizer() if optimizer else pf.train.AdamOptimizer(0.01), loss)
        with pf.Session(strategy=strategy, **options) as session:
            session.run(pf.global_variables_initializer())
            for number in range(steps):
                features, targets = batch(ranks, number)
                session.run(step, {x: features, y: targets})
            return session.run({v.name: v for v in pf.global_variables()})


def assert_trained_alike(
    comm: Communicator, strategy: AllReduce, build: Any = plain, steps: int = 12, optimizer: Any = None, **options: Any
) -> None:
    expected = trained(None, list(range(comm.size)), build, steps, optimizer)
    found = trained(strategy, [comm.rank], build, steps, optimizer, **options)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-9, atol=1e-12, err_msg=name)


def uneven_shards_train_as_one_process(comm: Communicator) -> None:
    """Ranks with 200 samples and with none: whoever overwrote a parameter that is still read would show here."""
    assert_trained_alike(comm, AllReduce(comm))


def small_buckets_train_as_one_process(comm: Communicator) -> None:
    assert_trained_alike(comm, AllReduce(comm), bucket_bytes=1)


def several_threads_train_as_one_process(comm: Communicator) -> None:
    assert_trained_alike(comm, AllReduce(comm), bucket_bytes=1, threads=2)


def without_shared_memory_it_is_the_same(comm: Communicator) -> None:
    assert_trained_alike(comm, AllReduce(comm, shared_memory=False), bucket_bytes=4096)


def nodes_that_sum_on_a_ring_train_as_one_process(comm: Communicator) -> None:
    assert_trained_alike(comm, AllReduce(comm), bucket_bytes=4096, algorithm="ring")
    assert_trained_alike(comm, AllReduce(comm, shared_memory=False), clipped, bucket_bytes=1, algorithm="ring")
    with pytest.raises(RanksDisagree, match=r"algorithm = '(ring|mpi)'"):
        trained(AllReduce(comm), [comm.rank], algorithm="mpi" if comm.rank else "ring")


def gradients_are_clipped_once_after_the_average(comm: Communicator) -> None:
    assert_trained_alike(comm, AllReduce(comm), clipped)


def lamb() -> Any:
    return pf.train.LAMBOptimizer(0.01, weight_decay=0.01, exclude_from_layer_adaptation=["bias"])


def lars() -> Any:
    return pf.train.LARSOptimizer(0.5, eeta=0.01, skip_list=["bias"])


def norms_of_layers_are_those_of_one_process(comm: Communicator) -> None:
    """Also after clipping, which takes a round of numbers of its own, and with each variable in its own bucket."""
    assert_trained_alike(comm, AllReduce(comm), plain, 3, lars)
    assert_trained_alike(comm, AllReduce(comm), clipped, 3, lamb, bucket_bytes=1, threads=2)
    assert_trained_alike(comm, AllReduce(comm, shared_memory=False), clipped, 3, lamb)


def all_kinds_of_reductions_are_those_of_one_process(comm: Communicator) -> None:
    assert_trained_alike(comm, AllReduce(comm), scaled_by_statistics)


def more_norms_than_are_told_at_a_time(comm: Communicator) -> None:
    """Many small variables, each with two norms, of which the gradients' follow from the ranks in closed form."""
    mean = (comm.size + 1) / 2
    with pf.Graph().as_default():
        x = pf.placeholder(pf.float64, (None,))
        variables = [pf.Variable(np.full(3, 1.0 + i)) for i in range(130)]
        loss = pf.add_n([pf.reduce_sum(v) * (1.0 + i) for i, v in enumerate(variables)]) * pf.reduce_mean(x)
        optimizer = pf.train.LARSOptimizer(1.0, momentum=0.0, weight_decay=0.0, eeta=0.5)
        step = optimizer.minimize(loss)
        with pf.Session(strategy=AllReduce(comm)) as session:
            session.run(pf.global_variables_initializer())
            session.run(step, {x: [comm.rank + 1.0]})
            found = session.run(variables)
    for i, value in enumerate(found):
        gradient = np.full(3, mean * (1.0 + i))
        length = np.linalg.norm(np.full(3, 1.0 + i))
        np.testing.assert_allclose(value, 1.0 + i - 0.5 * length * gradient / np.linalg.norm(gradient), rtol=1e-12)


def a_rank_may_fetch_norms_that_the_others_do_not(comm: Communicator) -> None:
    """The norm that clips, and another one that nobody trains with."""
    with pf.Graph().as_default():
        x, y, loss = regression((3,))
        optimizer = pf.train.GradientDescentOptimizer(0.1)
        pairs = optimizer.compute_gradients(loss)
        gradients, norm = pf.clip_by_global_norm([g for g, _ in pairs], 1e-3)
        largest = pf.reduce_max(pf.abs(pairs[0][0]))
        step = optimizer.apply_gradients([(g, v) for g, (_, v) in zip(gradients, pairs, strict=True)])
        with pf.Session(strategy=AllReduce(comm)) as session:
            session.run(pf.global_variables_initializer())
            for number in range(4):
                feed = {x: np.full((2, 20), 1.0 + comm.rank), y: np.ones((2, 3))}
                if comm.rank == 0 and number % 2:
                    values = session.run([step, norm, largest, *(g for g, _ in pairs)], feed)[1:]
                    squares = sum(float(np.sum(g**2)) for g in values[2:])
                    np.testing.assert_allclose(values[0], np.sqrt(squares), rtol=1e-12)
                    assert values[1] == np.abs(values[2]).max()
                else:
                    session.run(step, feed)


def accumulated(strategy: AllReduce | None, ranks: list[int], micro: int, steps: int = 4) -> Any:
    """Everything after ``steps`` updates with a falling rate; a strategy runs ``micro`` batches for each of them."""
    with pf.Graph().as_default():
        x, y, loss = regression()
        global_step = pf.train.create_global_step()
        seen = pf.Variable(np.float64(0), trainable=False, name="seen")
        count = seen.assign_add(pf.cast(pf.shape(x)[0], pf.float64))
        rate = pf.train.inverse_time_decay(0.05, global_step, 1, 0.5)
        train = pf.train.AdamOptimizer(rate).minimize(loss, global_step)
        with pf.Session(strategy=strategy) as session:
            session.run(pf.global_variables_initializer())
            for number in range(steps):
                parts = [batch(ranks, number * micro + i) for i in range(micro)]
                if strategy is None:
                    parts = [tuple(np.concatenate(several) for several in zip(*parts, strict=True))]
                for features, targets in parts:
                    before = session.run(pf.trainable_variables())
                    fetches = [train, count] if features is parts[0][0] else [count, loss, train]
                    session.run(fetches, {x: features, y: targets})
                    if features is not parts[-1][0]:
                        for old, new in zip(before, session.run(pf.trainable_variables()), strict=True):
                            np.testing.assert_array_equal(old, new)
                assert session.run(global_step) == number + 1
            values = session.run({v.name: v for v in pf.global_variables()})
            assert values.pop("seen:0") == sum(len(batch(ranks, i)[0]) for i in range(micro * steps))
            return values


def micro_batches_train_as_one_process_on_all_of_them(comm: Communicator) -> None:
    """Three micro-batches an update, each of another size on each rank, some of none."""
    expected = accumulated(None, list(range(comm.size)), 3)
    for shared_memory in (True, False):
        found = accumulated(AllReduce(comm, shared_memory=shared_memory, accumulate=3), [comm.rank], 3)
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-9, atol=1e-12, err_msg=name)


def half_precision_sums_do_not_overflow(comm: Communicator) -> None:
    """Gradients of 40,000 in float16: sums over ranks, samples and micro-batches are out of its range, means are not.

    In bfloat16 they are in its range, but what is added to a sum of them would be lost.

    Ranks have 1, 9, 0, 1, ... samples, and small gradients beside the large ones keep their precision.
    """
    for dtype, rtol in ((pf.float16, 2e-3), (pf.bfloat16, 1e-2)):
        half_precision_averages(comm, dtype, rtol)


def half_precision_averages(comm: Communicator, dtype: Any, rtol: float) -> None:
    samples = [(1, 9, 0)[rank % 3] for rank in range(comm.size)]
    gradients = [np.array([40_000.0 - 1000 * rank, 3e-3 * (rank + 1)] * 5000) for rank in range(comm.size)]
    mean = np.average(gradients, axis=0, weights=samples)
    rows = np.average([g[:2] for g in gradients], axis=0, weights=samples)
    own = gradients[comm.rank].astype(dtype)
    for options in ({}, {"accumulate": 3}, {"shared_memory": False}):
        with pf.Graph().as_default():
            x = pf.placeholder(dtype, (None, own.size), name="x")
            w = pf.Variable(np.zeros(own.size, dtype), name="w")
            table = pf.Variable(np.zeros((9, 2), dtype), name="table")
            part = pf.gather(table, pf.constant([4])) * pf.reduce_mean(x[:, :2], 0)
            loss = pf.reduce_sum(w * pf.reduce_mean(x, 0)) + pf.reduce_sum(part)
            optimizer = pf.train.GradientDescentOptimizer(1.0)
            pairs = optimizer.compute_gradients(loss)
            step = optimizer.apply_gradients(pairs)
            with pf.Session(strategy=AllReduce(comm, **options)) as session:
                session.run(pf.global_variables_initializer())
                fed = {x: np.broadcast_to(own, (samples[comm.rank], own.size))}
                for _ in range(options.get("accumulate", 1) - 1):
                    session.run(step, fed)
                _, *averages = session.run([step, *([] if "accumulate" in options else [pairs[0][0]])], fed)
                found, moved = session.run([w, table])
        for value, expected in (*((a, mean) for a in averages), (-found, mean), (-moved[4], rows)):
            assert value.dtype == dtype
            np.testing.assert_allclose(value.astype(float), expected, rtol=rtol)


def trainings_alternate(comm: Communicator) -> None:
    """Two losses with some variables in common, and both updates in one run."""

    def run(strategy: AllReduce | None, ranks: list[int]) -> Any:
        with pf.Graph().as_default():
            x, y, loss = regression()
            other = pf.reduce_mean(pf.square(pf.trainable_variables()[0])) + loss
            first = pf.train.MomentumOptimizer(0.05, 0.9).minimize(loss)
            some = pf.trainable_variables()[:3]
            second = pf.train.GradientDescentOptimizer(0.1).minimize(other, var_list=some)
            with pf.Session(strategy=strategy) as session:
                session.run(pf.global_variables_initializer())
                for number, fetches in enumerate([first, second, [first, second], first, second, [second, first]]):
                    features, targets = batch(ranks, number)
                    session.run(fetches, {x: features, y: targets})
                return session.run({v.name: v for v in pf.global_variables()})

    expected = run(None, list(range(comm.size)))
    for name, value in run(AllReduce(comm), [comm.rank]).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-9, atol=1e-12, err_msg=name)


def all_ranks_see_the_same_bits(comm: Communicator) -> None:
    for shared_memory in (True, False):
        values = trained(AllReduce(comm, shared_memory=shared_memory), [comm.rank], clipped, 6, lamb)
        sums = comm.allgather(sorted((k, zlib.crc32(v.tobytes())) for k, v in values.items()))
        assert all(other == sums[0] for other in sums)


def assignments_by_all_ranks_happen_once(comm: Communicator) -> None:
    """A read-modify-write of a shared variable is not applied once a rank."""
    with pf.Graph().as_default():
        x = pf.placeholder(pf.float64, (None,), name="x")
        w, v = pf.Variable(np.arange(300.0), name="w"), pf.Variable(np.ones(300), name="v")
        train = pf.train.GradientDescentOptimizer(0.0).minimize(pf.reduce_mean(x) * pf.reduce_sum(w * v))
        grow = [w.assign_add(pf.ones_like(w)), v.assign(v * 2.0)]
        swap = pf.group(w.assign(v.value()), v.assign(pf.zeros_like(v) + 7.0))
        with pf.Session(strategy=AllReduce(comm)) as session:
            session.run(pf.global_variables_initializer())
            session.run(train, {x: [1.0]})
            for _ in range(3):
                session.run(grow)
            assert session.run(w).tolist() == (np.arange(300.0) + 3).tolist()
            assert session.run(v).tolist() == [8.0] * 300
            session.run(swap)
            assert session.run(w).tolist() == [8.0] * 300
            assert session.run(v).tolist() == [7.0] * 300
            w.load(np.full(300, 5.0), session)
            assert session.run([w, train], {x: [1.0]})[0].tolist() == [5.0] * 300  # a rate of 0


def updates_that_read_each_other_keep_program_order(comm: Communicator) -> None:
    """A ring of three that all read old values, then an update of one that reads the old slot of another."""
    for strategy, mean in ((None, comm.rank + 1.0), (AllReduce(comm), (comm.size + 1) / 2)):
        with pf.Graph().as_default():
            x = pf.placeholder(pf.float64, (None,), name="x")
            values = [np.arange(20_000) % (k + 7.0) for k in range(4)]
            a, b, _ = variables = [pf.Variable(v, name=n) for v, n in zip(values, "abc", strict=False)]
            slot = pf.Variable(values[3], trainable=False, name="slot", slot_of="b")
            loss = pf.reduce_mean(x) * pf.add_n([pf.reduce_sum(v) * (k + 1.0) for k, v in enumerate(variables)])
            gradients = [g for g, _ in pf.train.GradientDescentOptimizer(1.0).compute_gradients(loss)]
            old = [v.value() for v in variables]
            new = [v - g + w for v, g, w in zip(old, gradients, [*old[1:], old[0]], strict=True)]
            ring = pf.group(*(v.assign(n) for v, n in zip(variables, new, strict=True)))
            old_slot = slot.value()
            moved = b.assign_sub(slot.assign(old_slot * 0.5 + gradients[1]))
            slotted = pf.group(moved, a.assign_sub(gradients[0] + old_slot))
            with pf.Session(strategy=strategy, bucket_bytes=1 << 18) as session:
                session.run(pf.global_variables_initializer())
                for _ in range(3):
                    session.run(ring, {x: [comm.rank + 1.0]})
                    session.run(slotted, {x: [comm.rank + 1.0]})
                    one, two, three, moment = values
                    one, two, three = one - mean + two, two - 2 * mean + three, three - 3 * mean + one
                    one, moment = one - (mean + moment), moment * 0.5 + 2 * mean
                    values = [one, two - moment, three, moment]
                for found, expected in zip(session.run([*variables, slot]), values, strict=True):
                    np.testing.assert_allclose(found, expected, rtol=1e-12)


def old_values_can_be_fetched_beside_an_update(comm: Communicator) -> None:
    with pf.Graph().as_default():
        x = pf.placeholder(pf.float64, (None,), name="x")
        w = pf.Variable(np.ones(1000), name="w")
        value = w.value()
        before = value * 1.0
        optimizer = pf.train.MomentumOptimizer(0.5, 0.5)
        train = optimizer.minimize(pf.reduce_mean(x) * pf.reduce_sum(w))
        with pf.Session(strategy=AllReduce(comm)) as session:
            session.run(pf.global_variables_initializer())
            expected, momentum = 1.0, 0.0
            for _ in range(4):
                old, alias, _ = session.run([before, value, train], {x: [2.0]})
                assert old.tolist() == [expected] * 1000
                assert alias.tolist() == old.tolist()
                momentum = 0.5 * momentum + 2.0
                expected -= 0.5 * momentum
            slot = session.run(optimizer.get_slot(w, "momentum"))
            assert slot.tolist() == [momentum] * 1000


def different_learning_rates_are_refused(comm: Communicator) -> None:
    with pf.Graph().as_default():
        x = pf.placeholder(pf.float64, (None,), name="x")
        rate = pf.placeholder(pf.float64, (), name="rate")
        w = pf.Variable(np.ones(100), name="w")
        train = pf.train.GradientDescentOptimizer(rate).minimize(pf.reduce_mean(x) * pf.reduce_sum(w))
        with pf.Session(strategy=AllReduce(comm)) as session:
            session.run(pf.global_variables_initializer())
            session.run(train, {x: [1.0], rate: 0.1})
            steps = [{x: [1.0], rate: 0.1 * (1 + comm.rank)}] * 2  # between nodes it is noticed with the next step
            with pytest.raises(RanksDisagree, match="learning rates"):
                [session.run(train, feed) for feed in steps]


def a_node_has_one_copy_of_parameters_and_slots(comm: Communicator) -> None:
    """What the store takes, beyond gradients, is shared: writing it on one rank shows on the others of the node."""
    with pf.Graph().as_default():
        x, y, loss = regression((64, 3))
        train = pf.train.AdamOptimizer(0.01).minimize(loss)
        with pf.Session(strategy=AllReduce(comm)) as session:
            session.run(pf.global_variables_initializer())
            session.run(train, {x: np.ones((2, 20)), y: np.ones((2, 3))})
            node = comm.split_node()
            for name, spec in session.store.specs.items():
                in_plane = bool(spec.owner)
                assert session.store.shared(name) == in_plane, name
                array = session.store[name]
                node.barrier()
                if node.rank == 0:
                    array[...] = 17.0
                node.barrier()
                assert (array == 17.0).all() == (in_plane or node.rank == 0), name
                node.barrier()


def the_ranks_of_a_node_divide_the_updates(comm: Communicator) -> None:
    """Every parameter is cut into slices that make it up; ranks have as many elements, and their slots with them."""
    with pf.Graph().as_default():
        x, y, loss = regression((64, 40, 3))
        train = pf.train.AdamOptimizer(0.01).minimize(loss)
        with pf.Session(strategy=AllReduce(comm)) as session:
            session.run(pf.global_variables_initializer())
            session.run(train, {x: np.ones((2, 20)), y: np.ones((2, 3))})
            store, exchange = session.store, session.context.exchange
            parameters = {name: store[name].size for name, spec in store.specs.items() if spec.trainable}
            names = [*parameters, *(name for name, spec in store.specs.items() if spec.slot_of)]
            assert len(names) == 3 * len(parameters)
            slices = [exchange.cut(names, lane) for lane in range(exchange.lanes)]
            for of_a_rank in slices:
                for name in names:
                    assert of_a_rank[name] == of_a_rank[store.specs[name].owner]
            for name, size in parameters.items():
                ends = [of_a_rank[name] for of_a_rank in slices]
                assert [0, *(high for _, high in ends)] == [*(low for low, _ in ends), size]
            elements = [sum(high - low for low, high in map(s.__getitem__, parameters)) for s in slices]
            line = 64  # elements, to which slices and the places of variables are rounded
            assert max(elements) <= sum(parameters.values()) / exchange.lanes + line * len(parameters)


def sums_over_nodes_begin_without_a_further_post(comm: Communicator) -> None:
    """As soon as all ranks of the node have posted a bucket, a rank that looks up from its work sends their sum on."""
    with pf.Graph().as_default():
        x, y, loss = regression((64, 3))
        train = pf.train.GradientDescentOptimizer(0.01).minimize(loss)
        with pf.Session(strategy=AllReduce(comm)) as session:
            session.run(pf.global_variables_initializer())
            session.run(train, {x: np.ones((2, 20)), y: np.ones((2, 3))})
            store, exchange = session.store, session.context.exchange
            if not exchange.several_nodes:
                return
            name = "mlp/dense/kernel"
            bucket = exchange.bucket([name], [name])
            bucket.reduction = Reduction(bucket, store, exchange)
            exchange.open(1, 1, "a sum")
            store.gradient(name)[...] = comm.rank + 1.0
            exchange.post(bucket)
            comm.barrier()
            exchange.advance()
            assert bucket.reduced == (exchange.lane < exchange.lanes)
            exchange.wait(bucket)
            for run in bucket.reduction.runs:
                assert (run == sum(range(1, comm.size + 1))).all()
            comm.barrier()


def a_rank_looks_up_between_steps_where_there_are_several_nodes(comm: Communicator) -> None:
    """After every step that takes a while, and never on a single node."""
    looks = []
    with pf.Graph().as_default():
        x, y, loss = regression((500, 3))
        train = pf.train.GradientDescentOptimizer(0.01).minimize(loss)
        with pf.Session(strategy=AllReduce(comm)) as session:
            exchange = session.context.exchange
            look = exchange.advance
            exchange.advance = lambda: (looks.append(1), look())
            session.run(pf.global_variables_initializer())
            for _ in range(3):
                session.run(train, {x: np.ones((100, 20)), y: np.ones((100, 3))})
            # The matrix products of two layers and three gradients are such steps.
            assert len(looks) >= 15 if exchange.several_nodes else not looks


CASES: list[Callable[[Communicator], None]] = [
    uneven_shards_train_as_one_process,
    small_buckets_train_as_one_process,
    several_threads_train_as_one_process,
    without_shared_memory_it_is_the_same,
    nodes_that_sum_on_a_ring_train_as_one_process,
    gradients_are_clipped_once_after_the_average,
    norms_of_layers_are_those_of_one_process,
    all_kinds_of_reductions_are_those_of_one_process,
    more_norms_than_are_told_at_a_time,
    a_rank_may_fetch_norms_that_the_others_do_not,
    micro_batches_train_as_one_process_on_all_of_them,
    half_precision_sums_do_not_overflow,
    trainings_alternate,
    all_ranks_see_the_same_bits,
    assignments_by_all_ranks_happen_once,
    updates_that_read_each_other_keep_program_order,
    old_values_can_be_fetched_beside_an_update,
    different_learning_rates_are_refused,
    a_node_has_one_copy_of_parameters_and_slots,
    the_ranks_of_a_node_divide_the_updates,
    sums_over_nodes_begin_without_a_further_post,
    a_rank_looks_up_between_steps_where_there_are_several_nodes,
]


def cases_of(size: int) -> list[Callable[[Communicator], None]]:
    """The cases that a world of ``size`` ranks can run: all of them."""
    return CASES


if __name__ == "__main__":
    from each_case import run_each

    everyone = world()
    run_each(everyone, cases_of(everyone.size))
