"""Workers: threads that stay, with BLAS on one thread each."""

from __future__ import annotations

import contextvars
import queue
import threading
import weakref

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from minivit.backend.cpu import KERNELS
from minivit.backend.cpu.threads import Workers, _serve, available_cores, blas_threads


def blas() -> list[int]:
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_worker_runs_once_and_results_are_in_order(count):
    with Workers(count) as workers:
        for _ in range(20):
            assert workers.run(lambda worker: worker * 10) == [10 * i for i in range(count)]


def test_workers_run_at_the_same_time_on_threads_that_stay():
    barrier = threading.Barrier(3, timeout=30)

    def work(worker):
        barrier.wait()
        return threading.get_ident()

    with Workers(3) as workers:
        first, second = workers.run(work), workers.run(work)
    assert first == second
    assert len(set(first)) == 3
    assert first[0] == threading.get_ident()


def test_blas_runs_on_one_thread_a_worker_and_gets_its_threads_back():
    with blas_threads(2):
        before = blas()
        with Workers(2) as workers:
            assert set(workers.run(lambda _: tuple(blas()))) == {(1,) * len(before)}
        assert blas() == before


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_an_error_reaches_the_caller_once_all_have_ended(failing):
    ended = []

    def work(worker):
        if worker == failing:
            raise KeyError(worker)
        ended.append(worker)

    with Workers(3) as workers:
        with pytest.raises(KeyError, match=str(failing)):
            workers.run(work)
        assert len(ended) == 2
        assert workers.run(lambda worker: worker) == [0, 1, 2]


def test_the_callers_context_holds_in_the_workers():
    def work(worker):
        return np.geterr()["divide"]

    with Workers(2) as workers, np.errstate(divide="call"):
        assert workers.run(work) == ["call", "call"]


def test_nothing_of_the_work_stays_alive():
    class Thing:
        pass

    thing = Thing()
    gone = weakref.ref(thing)
    with Workers(3) as workers:
        workers.run(lambda worker, thing=thing: id(thing))
        del thing
        assert gone() is None


def test_the_work_is_let_go_before_the_caller_hears_of_its_end():
    """Whoever then looks for what is still alive must not depend on how far a worker has come."""
    seen = []

    class Outbox(queue.SimpleQueue):
        def put(self, outcome):
            seen.append(gone() is None)
            super().put(outcome)

    class Work:
        def __call__(self, worker):
            return worker

    inbox, outbox, work = queue.SimpleQueue(), Outbox(), Work()
    gone = weakref.ref(work)
    inbox.put((1, contextvars.copy_context(), work, outbox))
    inbox.put(None)
    del work
    _serve(inbox)
    assert seen == [True]
    assert outbox.get() == (1, 1, None)


def test_a_run_that_is_interrupted_leaves_nothing_to_the_next(monkeypatch):
    """Ctrl-C while the caller waits for the others."""
    go_on, real = threading.Event(), queue.SimpleQueue

    class Interrupted(real):
        def get(self):
            raise KeyboardInterrupt

    with Workers(2) as workers:
        monkeypatch.setattr("queue.SimpleQueue", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            workers.run(lambda worker: go_on.wait(30) if worker else None)
        monkeypatch.setattr("queue.SimpleQueue", real)
        go_on.set()
        assert workers.run(lambda worker: worker * 10) == [0, 10]


def test_misuse_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        Workers(0)
    with Workers(2) as workers:
        with pytest.raises(RuntimeError, match="busy"):
            workers.run(lambda worker: workers.run(lambda inner: inner))
    with pytest.raises(RuntimeError, match="closed"):
        workers.run(lambda worker: worker)


def test_all_cores_by_default():
    with Workers() as workers:
        assert workers.count == available_cores()


def test_kernels_give_the_same_bits_in_several_threads(rng):
    """Forward and backward at once on different data: no kernel has scratch memory that threads share."""
    x = rng.standard_normal((4, 8, 17, 96)).astype(np.float32)
    w1, b1, w2, b2 = (rng.standard_normal(s).astype(np.float32) / 8 for s in ((300, 96), (300,), (96, 300), (96,)))
    images = rng.standard_normal((4, 8, 6, 12, 12)).astype(np.float32)
    kernel = rng.standard_normal((24, 6, 3, 3)).astype(np.float32)
    cases = [
        ("mlp", lambda i: (x[i], w1, b1, w2, b2), {"approximate": "none"}),
        ("layer_norm", lambda i: (x[i], b2, b2), {"eps": 1e-6}),
        ("qkv_attention", lambda i: (x[i], None), {"heads": 4, "scale": 0.3}),
        ("conv2d", lambda i: (images[i], kernel, None), {"stride": (1, 1), "padding": (1, 1)}),
        ("max_pool2d", lambda i: (images[i],), {"kernel_size": (2, 2), "stride": (2, 2), "padding": (0, 0)}),
    ]

    def work(worker):
        results = []
        for name, inputs, attributes in cases * 5:
            arrays = inputs(worker)
            y, saved = KERNELS[name].forward(*arrays, **attributes)
            wanted = tuple(a is not None for a in arrays)
            gradients = KERNELS[name].backward(y, saved, *arrays, wanted=wanted, **attributes)
            results += [np.array(y)] + [np.array(g) for g in gradients if g is not None]
        return results

    with Workers(4) as workers:
        together = workers.run(work)
        alone = [work(worker) for worker in range(4)]
    for ours, theirs in zip(together, alone, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)
