"""Programs that write down what a monitored session does and in which order, for TensorFlow and for paraflow.

Each is a function of the module (``tf``) and of an empty directory, and gives lines of text.
"""

import os
import threading

import numpy as np

CASES = {}
READS = []  # what gives the tensor by which TensorFlow's hooks read the global step


def case(function):
    CASES[function.__name__] = function
    return function


def lines_of(tf, name, directory):
    """The lines of one case, in a graph of its own."""
    with tf.Graph().as_default():
        return [str(line) for line in CASES[name](tf, str(directory))]


def counting(tf):
    """The global step, and what adds one to it, in TensorFlow after its hooks have read it."""
    step = tf.train.get_or_create_global_step()
    with tf.control_dependencies([read() for read in READS]):
        return step, tf.assign_add(step, 1)


def number(value):
    return round(float(value), 3)


def error(function, *args, **kwargs):
    """What it raises: the name of a builtin class of it, and the message up to its first full stop."""
    try:
        function(*args, **kwargs)
    except Exception as raised:
        kind = next(k for k in type(raised).__mro__ if k.__module__ == "builtins" and k is not Exception)
        return f"{kind.__name__}: {str(raised).partition('.')[0]}"
    return "nothing"


def recorder(tf, name, lines, fetches=None, feeds=None, stop_after=None, fail=None):
    """A hook that tells of its calls; ``fail`` is a method that raises an error of that sort, once."""

    class Recorder(tf.train.SessionRunHook):
        runs = 0

        def tell(self, method, text=""):
            lines.append(f"{name}.{method} {text}".strip())
            if fail and method == fail[0]:
                raise fail[1]

        def begin(self):
            self.tell("begin", f"finalized={tf.get_default_graph().finalized}")

        def after_create_session(self, session, coord):
            self.coord = coord
            self.tell("after_create_session", f"{isinstance(session, tf.Session)} {coord.should_stop()}")

        def before_run(self, run_context):
            args = run_context.original_args
            fed = sorted(number(v) for v in (args.feed_dict or {}).values())
            self.tell("before_run", f"{isinstance(args.fetches, dict)} {fed} {run_context.stop_requested}")
            return None if fetches is feeds is None else tf.train.SessionRunArgs(fetches, feeds)

        def after_run(self, run_context, run_values):
            self.runs += 1
            if self.runs == stop_after:
                run_context.request_stop()
            shown = form(run_values.results)
            self.tell("after_run", f"{shown} {run_context.stop_requested} {type(run_values.options).__name__}")

        def end(self, session):
            self.tell("end", str(isinstance(session, tf.Session)))

    return Recorder()


def form(results):
    if isinstance(results, dict):
        return {key: form(value) for key, value in sorted(results.items())}
    if isinstance(results, (list, tuple)):
        return [form(value) for value in results]
    return None if results is None else number(results)


@case
def the_order_of_calls(tf, directory):
    lines = []
    x = tf.placeholder(tf.float32, ())
    y = tf.placeholder(tf.float32, ())
    v = tf.get_variable("v", (), initializer=tf.ones_initializer())
    total = x + y + v
    hooks = [
        recorder(tf, "a", lines, fetches={"v": v, "twice": [total * 2.0, x]}),
        recorder(tf, "b", lines, feeds={y: 10.0}),
        recorder(tf, "c", lines, fetches=total, stop_after=2),
        recorder(tf, "d", lines),
    ]
    scaffold = tf.train.Scaffold(init_fn=lambda scaffold, session: lines.append(f"init_fn {number(session.run(v))}"))
    creator = tf.train.ChiefSessionCreator(scaffold)
    with tf.train.MonitoredSession(session_creator=creator, hooks=hooks) as session:
        lines.append(f"finalized={tf.get_default_graph().finalized} {session.graph is tf.get_default_graph()}")
        while not session.should_stop():
            lines.append(f"run {form(session.run({'total': total, 'nested': [(x,), v]}, {x: 1.0}))}")
        lines.append(error(session.run, total, {x: 1.0}))
    lines.append(f"finalized={tf.get_default_graph().finalized} {session.graph} {session.should_stop()}")
    return lines


@case
def ends_and_errors(tf, directory):
    lines = []
    failures = [
        None, ZeroDivisionError("x"), StopIteration("x"), tf.errors.OutOfRangeError(None, None, "x"),
        tf.errors.InvalidArgumentError(None, None, "x"), KeyboardInterrupt(),
    ]  # fmt: skip
    v = tf.get_variable("v", (), initializer=tf.ones_initializer())
    for kind in (tf.train.MonitoredSession, tf.train.SingularMonitoredSession):
        for failure in failures:
            try:
                with kind(hooks=[recorder(tf, "a", lines)]) as session:
                    session.run(v)
                    if failure is not None:
                        raise failure
                lines.append(f"left {session.should_stop()}")
            except BaseException as raised:
                lines.append(f"raised {type(raised).__name__} {session.should_stop()}")
            lines.append(f"finalized={tf.get_default_graph().finalized}")
    for method in ("begin", "after_create_session", "before_run", "after_run", "end"):
        try:
            with tf.train.MonitoredSession(
                hooks=[recorder(tf, "a", lines, fail=(method, ZeroDivisionError("x"))), recorder(tf, "b", lines)]
            ) as session:
                session.run(v)
        except ZeroDivisionError:
            lines.append(f"{method} raised {session.should_stop()}")
    return lines


@case
def a_graph_that_was_final_stays_so(tf, directory):
    v = tf.get_variable("v", (), initializer=tf.ones_initializer())
    tf.train.Scaffold().finalize()
    with tf.train.MonitoredSession() as session:
        session.run(v)
    return [tf.get_default_graph().finalized]


@case
def step_functions(tf, directory):
    lines = []
    x = tf.placeholder(tf.float32, ())
    y = x * 2.0
    hooks = [recorder(tf, "a", lines, fetches=y)]

    def step_fn(step_context):
        lines.append(f"raw {number(step_context.session.run(y, {x: 1.0}))}")
        value = step_context.run_with_hooks(y, feed_dict={x: 3.0})
        if len(lines) > 8:
            step_context.request_stop()
        return number(value)

    with tf.train.MonitoredSession(hooks=hooks) as session:
        while not session.should_stop():
            lines.append(f"returned {session.run_step_fn(step_fn)}")
    lines.append(session.should_stop())

    class Holder:
        def method(self, step_context):
            return isinstance(step_context.session, tf.Session)

    with tf.train.SingularMonitoredSession() as session:
        lines.append(session.run_step_fn(Holder().method))
        lines.append(session.run_step_fn(lambda step_context: number(step_context.session.run(y, {x: 2.0}))))
        lines.append(error(session.run_step_fn, lambda context: None)[:60])
        lines.append(error(session.run_step_fn, lambda step_context, other: None)[:60])
        lines.append(f"{number(session.raw_session().run(y, {x: 4.0}))}")
    lines.append(session.raw_session())
    return lines


@case
def checkpoints_listeners_and_restoring(tf, directory):
    lines = []
    step, add = counting(tf)

    class Listener(tf.train.CheckpointSaverListener):
        def begin(self):
            lines.append(f"begin finalized={tf.get_default_graph().finalized}")

        def before_save(self, session, global_step_value):
            lines.append(f"before_save {number(global_step_value)} {isinstance(session, tf.Session)}")

        def after_save(self, session, global_step_value):
            lines.append(f"after_save {number(global_step_value)}")
            return global_step_value == 9

        def end(self, session, global_step_value):
            lines.append(f"end {number(global_step_value)}")

    def hook(**options):
        return tf.train.CheckpointSaverHook(directory, save_steps=3, listeners=[Listener()], **options)

    def kept():
        state = tf.train.get_checkpoint_state(directory)
        return [os.path.basename(path) for path in state.all_model_checkpoint_paths]

    for _ in range(2):
        scaffold = tf.train.Scaffold(init_fn=lambda scaffold, session: lines.append("init_fn"))
        creator = tf.train.ChiefSessionCreator(scaffold, checkpoint_dir=directory)
        hooks = [hook(scaffold=scaffold), tf.train.StopAtStepHook(num_steps=5)]
        with tf.train.MonitoredSession(creator, hooks) as session:
            while not session.should_stop():
                session.run(add)
        lines.append(kept())
    latest = tf.train.latest_checkpoint(directory)
    creator = tf.train.ChiefSessionCreator(checkpoint_filename_with_path=latest)
    with tf.train.MonitoredSession(creator) as session:
        lines.append(number(session.run(step)))
    with tf.train.SingularMonitoredSession(checkpoint_dir=directory) as session:
        lines.append(number(session.run(step)))
    lines.append(os.path.exists(os.path.join(directory, "graph.pbtxt")))
    lines.append(os.path.exists(f"{latest}.meta"))
    return lines


@case
def training_sessions(tf, directory):
    lines = []
    step, add = counting(tf)
    for steps in (4, 2):
        hooks = [recorder(tf, "own", lines, fetches=step * 0), tf.train.StopAtStepHook(num_steps=steps)]
        with tf.train.MonitoredTrainingSession(
            checkpoint_dir=directory,
            hooks=hooks,
            chief_only_hooks=[recorder(tf, "chief", lines)],
            save_checkpoint_steps=3,
            save_graph_def=False,
        ) as session:
            while not session.should_stop():
                session.run(add)
            lines.append("stopped")
    state = tf.train.get_checkpoint_state(directory)
    lines.append([os.path.basename(path) for path in state.all_model_checkpoint_paths])
    lines.append(sorted(name for name in os.listdir(directory) if name.endswith((".meta", ".pbtxt"))))
    with tf.train.MonitoredTrainingSession() as session:
        lines.append(number(session.run(step)))
    return lines


@case
def a_session_is_recovered(tf, directory):
    lines = []
    step, add = counting(tf)
    failing = [
        tf.errors.AbortedError(None, None, "x"), tf.errors.UnavailableError(None, None, "x"),
        ZeroDivisionError("x"),
    ]  # fmt: skip

    class Fails(tf.train.SessionRunHook):
        def before_run(self, run_context):
            if failing and run_context.session.run(step) == 5:
                lines.append(f"raises {type(failing[0]).__name__}")
                raise failing.pop(0)

    hooks = [
        tf.train.CheckpointSaverHook(directory, save_steps=2, saver=tf.train.Saver()), Fails(), recorder(tf, "a", lines)
    ]  # fmt: skip
    creator = tf.train.ChiefSessionCreator(checkpoint_dir=directory)
    try:
        with tf.train.MonitoredSession(creator, hooks) as session:
            for _ in range(9):
                session.run(add)
    except ZeroDivisionError:
        lines.append("raised")
    singular = [tf.errors.AbortedError(None, None, "x")]
    failing[:] = singular
    try:
        with tf.train.SingularMonitoredSession([*hooks[:2]]) as session:
            for _ in range(9):
                session.run(add)
    except tf.errors.AbortedError:
        lines.append("raised")
    return lines


@case
def summaries_and_rates(tf, directory):
    lines = []
    step, add = counting(tf)
    tf.summary.scalar("step", step)

    class Writer:
        def __init__(self, name):
            self.name = name

        def add_summary(self, summary, global_step=None):
            lines.append(f"{self.name} {number(global_step)}")

        def add_session_log(self, log, global_step=None):
            pass

        def flush(self):
            lines.append(f"{self.name} flushed")

    class Rate(tf.train.StepCounterHook):
        def _log_and_record(self, elapsed_steps, elapsed_time, global_step):
            lines.append(f"rate {number(elapsed_steps)} {elapsed_time > 0} {number(global_step)}")

    one = tf.summary.merge_all()
    scaffold = tf.train.Scaffold()
    hooks = [
        tf.train.SummarySaverHook(save_steps=3, summary_writer=Writer("threes"), summary_op=one),
        tf.train.SummarySaverHook(save_steps=1, summary_writer=Writer("each"), scaffold=scaffold),
        tf.train.SummarySaverHook(save_secs=1000, summary_writer=Writer("pair"), summary_op=[one, one]),
        Rate(every_n_steps=4),
        Rate(every_n_steps=None, every_n_secs=1000),
        tf.train.StopAtStepHook(last_step=10),
    ]
    with tf.train.MonitoredSession(tf.train.ChiefSessionCreator(scaffold), hooks) as session:
        while not session.should_stop():
            session.run(add)
    lines.append(scaffold.summary_op is not None)
    return lines


@case
def profiles(tf, directory):
    _, add = counting(tf)
    hooks = [
        tf.train.ProfilerHook(save_steps=3, output_dir=directory), tf.train.StopAtStepHook(last_step=10)
    ]  # fmt: skip
    with tf.train.MonitoredSession(hooks=hooks) as session:
        while not session.should_stop():
            session.run(add)
    return sorted(name for name in os.listdir(directory) if name.startswith("timeline"))


@case
def small_hooks(tf, directory):
    lines = []
    step, add = counting(tf)
    x = tf.placeholder(tf.float32, (), name="x")
    y = tf.identity(x * 2.0, name="y")
    seven = tf.get_variable("seven", (), initializer=tf.constant_initializer(7.0))
    fed = iter(range(100))

    def formatter(values):
        lines.append(f"log {form(values)}")
        return "logged"

    final = tf.train.FinalOpsHook({"step": step, "y": y}, {x: 50.0})
    none = tf.train.FinalOpsHook(None)
    hooks = [
        tf.train.FeedFnHook(lambda: {x: float(next(fed))}),
        tf.train.LoggingTensorHook({"y": y, "x": "x:0"}, every_n_iter=3, formatter=formatter),
        tf.train.LoggingTensorHook({"once": "y"}, every_n_secs=1000, formatter=formatter),
        tf.train.LoggingTensorHook({"last": seven}, at_end=True, formatter=formatter),
        tf.train.LoggingTensorHook({"both": seven}, every_n_iter=6, at_end=True, formatter=formatter),
        tf.train.GlobalStepWaiterHook(0),
        final,
        none,
        tf.train.StopAtStepHook(num_steps=8),
    ]
    lines.append(final.final_ops_values)
    with tf.train.MonitoredSession(hooks=hooks) as session:
        while not session.should_stop():
            lines.append(number(session.run([add, y])[1]))
        lines.append(final.final_ops_values)
    lines += [form(final.final_ops_values), none.final_ops_values]
    hooks = [tf.train.FeedFnHook(lambda: {x: 1.0}), tf.train.FeedFnHook(lambda: {x: 1.0})]
    with tf.train.MonitoredSession(hooks=hooks) as session:
        lines.append(error(session.run, y))
    with tf.train.MonitoredSession(hooks=hooks[:1]) as session:
        lines += [error(session.run, y, {x: 1.0}), number(session.run(y))]
    return lines


@case
def losses_that_are_no_number(tf, directory):
    lines = []
    x = tf.placeholder(tf.float32, ())
    loss = tf.identity(x)
    with tf.train.MonitoredSession(hooks=[tf.train.NanTensorHook(loss, fail_on_nan_loss=False)]) as session:
        for value in (1.0, np.inf, np.nan):
            session.run(loss, {x: value})
            lines.append(session.should_stop())
    try:
        with tf.train.MonitoredSession(hooks=[tf.train.NanTensorHook(loss)]) as session:
            session.run(loss, {x: np.nan})
    except tf.train.NanLossDuringTrainingError as raised:
        lines += [str(raised), isinstance(raised, RuntimeError)]
    return lines


@case
def threads_of_a_session(tf, directory):
    lines = []
    v = tf.get_variable("v", (), initializer=tf.ones_initializer())

    class Threads(tf.train.SessionRunHook):
        def __init__(self, failure):
            self.failure = failure

        def after_create_session(self, session, coord):
            def work():
                with coord.stop_on_exception():
                    if self.failure is None:
                        coord.request_stop()
                    else:
                        raise self.failure

            self.thread = threading.Thread(target=work, daemon=True)
            coord.register_thread(self.thread)
            self.thread.start()
            self.thread.join()

    for failure in (None, ZeroDivisionError("of a thread"), StopIteration("of a thread")):
        hooks = [Threads(failure), recorder(tf, "a", lines)]
        try:
            with tf.train.MonitoredSession(hooks=hooks) as session:
                lines.append(f"{session.should_stop()} {number(session.run(v))}")
            lines.append("left")
        except (ZeroDivisionError, StopIteration) as raised:
            lines.append(f"raised {type(raised).__name__}")
    return lines


@case
def timers(tf, directory):
    lines = []
    timer = tf.train.SecondOrStepTimer(every_steps=3)
    for _ in range(2):
        lines.append(timer.last_triggered_step())
        for step in (2, 2, 3, 4, 5, 9, 11, 12):
            due = timer.should_trigger_for_step(step)
            lines.append(f"{step} {due}")
            if due:
                seconds, steps = timer.update_last_triggered_step(step)
                lines.append(f"{seconds is None} {steps} {timer.last_triggered_step()}")
                lines.append(timer.should_trigger_for_step(step))
        timer.reset()
    timer = tf.train.SecondOrStepTimer(every_secs=1000)
    for step in (1, 500):
        lines.append(timer.should_trigger_for_step(step))
        timer.update_last_triggered_step(1)
    always = tf.train.SecondOrStepTimer(every_secs=0)
    for step in (1, 1, 2):
        lines.append(always.should_trigger_for_step(step))
        always.update_last_triggered_step(step)
    return lines


@case
def scaffolds(tf, directory):
    lines = []
    x = tf.placeholder(tf.float32, ())
    v = tf.Variable(x, name="v")
    local = tf.Variable(x * 2.0, collections=[tf.GraphKeys.LOCAL_VARIABLES], name="local")
    tf.summary.scalar("v", v)
    keys = tf.GraphKeys
    names = [
        keys.INIT_OP, keys.READY_OP, keys.READY_FOR_LOCAL_INIT_OP, keys.LOCAL_INIT_OP, keys.SUMMARY_OP, keys.SAVERS
    ]  # fmt: skip
    saver = tf.train.Saver()
    first = tf.train.Scaffold(
        init_feed_dict={x: 3.0}, local_init_feed_dict={x: 4.0}, saver=saver, init_fn=lambda s, session: s
    )
    second = tf.train.Scaffold(init_feed_dict={x: 5.0}, copy_from_scaffold=first)
    lines.append([len(tf.get_collection(name)) for name in names])
    lines.append([first.init_op, first.ready_op, first.summary_op])
    lines.append([second.saver is saver, second.init_fn("a") is second])
    for scaffold in (first, second):
        with tf.train.MonitoredSession(tf.train.ChiefSessionCreator(scaffold)) as session:
            lines.append([number(value) for value in session.run([v, local])])
        lines.append([len(tf.get_collection(name)) for name in names])
    lines.append([first.init_op is second.init_op, first.saver is second.saver])
    lines.append([second.init_feed_dict == {x: 5.0}, second.local_init_feed_dict == {x: 4.0}])
    lines.append(error(tf.train.Scaffold, copy_from_scaffold="no"))
    tf.add_to_collection(keys.INIT_OP, tf.no_op())
    lines.append(error(tf.train.Scaffold.get_or_default, "init_op", keys.INIT_OP, tf.no_op).partition(":")[0])
    lines.append(tf.train.Scaffold.get_or_default("a", "new", lambda: None))
    lines.append(len(tf.get_collection("new")))
    lazy = tf.train.Scaffold(init_op=tf.no_op())
    failed = error(tf.train.MonitoredSession, tf.train.ChiefSessionCreator(lazy))
    lines.append(failed.partition(".")[0])
    return lines


@case
def arguments_that_do_not_fit(tf, directory):
    train = tf.train
    v = tf.get_variable("v", (), initializer=tf.ones_initializer())
    lines = [
        error(train.SecondOrStepTimer),
        error(train.SecondOrStepTimer, every_secs=1, every_steps=1),
        error(train.StopAtStepHook),
        error(train.StopAtStepHook, 1, 2),
        error(train.LoggingTensorHook, [v]),
        error(train.LoggingTensorHook, [v], every_n_iter=1, every_n_secs=1),
        error(train.LoggingTensorHook, [v], every_n_iter=0),
        error(train.CheckpointSaverHook, directory),
        error(train.CheckpointSaverHook, directory, save_steps=1, saver=1, scaffold=1),
        error(train.StepCounterHook, every_n_steps=1, every_n_secs=1),
        error(train.StepCounterHook, every_n_steps=None),
        error(train.SummarySaverHook, save_steps=1),
        error(train.SummarySaverHook, save_steps=1, scaffold=1, summary_op=1),
        error(train.SummarySaverHook, summary_op=1),
        error(train.ProfilerHook),
        error(train.SessionCreator),
    ]
    lines[-1] = lines[-1].partition(":")[0]
    for hook in (
        train.StopAtStepHook(1),
        train.CheckpointSaverHook(directory, save_steps=1),
        train.StepCounterHook(),
        train.SummarySaverHook(save_steps=1, summary_op=1),
    ):
        lines.append(error(train.MonitoredSession, hooks=[hook]))
    lines.append(error(train.LoggingTensorHook([1.0], every_n_iter=1).begin).partition(":")[0])
    args = train.SessionRunArgs(1)
    values = train.SessionRunValues(1, 2, 3)
    lines += [tuple(args), args._fields, tuple(values), values._fields, train.SessionRunArgs(1, 2, 3).options]
    context = train.SessionRunContext(args, "session")
    lines += [context.original_args is args, context.session, context.stop_requested]
    context.request_stop()
    lines.append(context.stop_requested)
    return lines
