"""Memory is counted of a process and of what it started, and the peak is seen."""

import os
import subprocess
import sys
import threading

import pytest

from minivit.recipes.speed import process_memory
from minivit.recipes.speed.process_memory import PROC, PeakMemory, process_tree, proportional_set_size

pytestmark = pytest.mark.skipif(
    not (
        (PROC / "self" / "smaps_rollup").exists() and (PROC / "self" / "task" / str(os.getpid()) / "children").exists()
    ),
    reason="the system does not tell a process's memory and children",
)

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "x = bytearray(b'1') * (40 << 20); print(flush=True); input()"],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
input()
child.communicate(b"\\n")
"""

GIVES_BACK = """
x = bytearray(b'1') * (64 << 20)
print(flush=True)
input()
del x
print(flush=True)
input()
"""


def test_children_of_children_belong_to_a_process_and_their_memory_to_its_peak() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child = int(parent.stdout.readline())
    assert process_tree(parent.pid) == [parent.pid, child]
    assert {parent.pid, child} <= set(process_tree(os.getpid()))
    with PeakMemory(parent.pid) as memory:
        assert proportional_set_size(child) > 40 << 20
    assert memory.bytes > proportional_set_size(parent.pid) + (40 << 20)
    parent.communicate(b"\n")
    assert parent.returncode == 0
    assert proportional_set_size(child) == 0  # it has ended


def test_the_peak_stays_when_the_memory_is_given_back() -> None:
    child = subprocess.Popen([sys.executable, "-c", GIVES_BACK], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with PeakMemory(child.pid) as memory:
        child.stdout.readline()
        memory.look()
        high = memory.bytes
        child.stdin.write(b"\n")
        child.stdin.flush()
        child.stdout.readline()
        memory.look()
    assert memory.bytes >= high > proportional_set_size(child.pid) + (32 << 20)
    child.communicate(b"\n")
    assert child.returncode == 0


def test_a_slow_look_that_saw_less_does_not_overwrite_the_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    looking, seen_more = threading.Event(), threading.Event()

    def size(pid: int) -> int:
        if threading.current_thread() is threading.main_thread():
            return 200
        looking.set()
        seen_more.wait(10)
        return 100

    monkeypatch.setattr(process_memory, "process_tree", lambda pid: [pid])
    monkeypatch.setattr(process_memory, "proportional_set_size", size)
    memory = PeakMemory(os.getpid())
    slow = threading.Thread(target=memory.look)
    slow.start()
    assert looking.wait(10)
    memory.look()
    seen_more.set()
    slow.join()
    assert memory.bytes == 200
