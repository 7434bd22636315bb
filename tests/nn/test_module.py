"""Tests of minivit/nn/module.py."""

import copy
import pickle
import re

import numpy as np
import pytest
from devices import DEVICES

import minivit as mv
from minivit import nn
from minivit.autograd.errors import DTypeError
from minivit.backend import device_of, to_host


class Leaf(nn.Module):
    def __init__(self, size=2):
        self.weight = nn.Parameter(np.arange(size, dtype=np.float32))

    def forward(self, x):
        return x * self.weight


class Tree(nn.Module):
    def __init__(self):
        self.first = Leaf()
        self.scale = nn.Parameter(np.ones((), np.float32))
        self.blocks = [Leaf(3), Leaf(4)]
        self.pair = (nn.Parameter(np.zeros(5, np.float32)), "no parameter")
        self.heads = {"small": Leaf(6), "deep": [Leaf(7)]}
        self.rate = 0.5

    def forward(self, x):
        return self.first(x) * self.scale


NAMES = [
    "scale",
    "pair.0",
    "first.weight",
    "blocks.0.weight",
    "blocks.1.weight",
    "heads.small.weight",
    "heads.deep.0.weight",
]


def test_parameters_are_found_in_attributes_lists_tuples_and_dicts():
    tree = Tree()
    assert [name for name, _ in tree.named_parameters()] == NAMES
    assert tree.count_parameters() == 1 + 5 + 2 + 3 + 4 + 6 + 7
    assert [p.size for p in tree.parameters()] == [1, 5, 2, 3, 4, 6, 7]


def test_modules_come_parents_first_and_know_their_path():
    tree = Tree()
    paths = [path for path, _ in tree.named_modules()]
    assert paths == ["", "first", "blocks.0", "blocks.1", "heads.small", "heads.deep.0"]
    assert [name for name, _ in tree.named_children()] == paths[1:]
    assert tree.path_of(tree.heads["deep"][0]) == "heads.deep.0"
    assert tree.path_of(tree) == tree.path_of(None) == tree.path_of(Leaf()) == ""


def test_what_is_shared_counts_once_under_its_first_name():
    tree = Tree()
    tree.again = tree.first
    tree.tied = Leaf()
    tree.tied.weight = tree.blocks[0].weight
    assert [name for name, _ in tree.named_parameters()] == NAMES
    assert [path for path, _ in tree.named_modules()].count("again") == 0


def test_a_module_that_knows_its_parent_does_not_go_in_circles():
    tree = Tree()
    tree.first.parent = tree
    assert [name for name, _ in tree.named_parameters()] == NAMES


def test_a_deep_chain_needs_no_recursion():
    outer = Leaf()
    for _ in range(3000):
        inner, outer = outer, nn.Module()
        outer.inner = inner
    assert outer.count_parameters() == 2


def test_state_dict_is_a_copy_by_full_name():
    tree = Tree()
    state = tree.state_dict()
    assert list(state) == NAMES
    state["first.weight"][:] = 7
    np.testing.assert_array_equal(tree.first.weight.data, [0, 1])
    assert state["scale"].shape == ()


def test_load_state_dict_writes_into_the_parameters_memory_and_converts():
    tree = Tree()
    memory = tree.blocks[0].weight.data
    version = tree.blocks[0].weight.version
    state = tree.state_dict()
    state["blocks.0.weight"] = np.array([1.5, 2.5, 3.5], np.float64)
    state["scale"] = np.array(3, np.float16)
    tree.load_state_dict(state)
    assert tree.blocks[0].weight.data is memory
    assert memory.dtype == np.float32
    np.testing.assert_array_equal(memory, [1.5, 2.5, 3.5])
    assert tree.scale.data == 3
    assert tree.blocks[0].weight.version > version


def test_load_state_dict_lists_every_problem_and_writes_nothing():
    tree = Tree()
    before = tree.state_dict()
    state = {name: array + 1 for name, array in before.items()}
    state["first.wieght"] = state.pop("first.weight")
    del state["heads.small.weight"]
    state["blocks.1.weight"] = np.zeros((2, 2), np.float32)
    state["zzz"] = np.zeros(1)
    with pytest.raises(nn.StateError) as caught:
        tree.load_state_dict(state)
    lines = str(caught.value).splitlines()
    assert lines == [
        "the state does not fit Tree; nothing was loaded:",
        "  shape of blocks.1.weight: expected (4,), got (2, 2)",
        "  missing first.weight (is it first.wieght?)",
        "  missing heads.small.weight",
        "  unexpected first.wieght (is it first.weight?)",
        "  unexpected zzz",
    ]
    for name, array in tree.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_load_state_dict_not_strict_takes_what_fits_by_name():
    tree = Tree()
    tree.load_state_dict({"first.weight": np.array([5.0, 6.0]), "stranger": np.zeros(3)}, strict=False)
    np.testing.assert_array_equal(tree.first.weight.data, [5, 6])
    np.testing.assert_array_equal(tree.blocks[0].weight.data, [0, 1, 2])
    with pytest.raises(nn.StateError, match=r"shape of first\.weight: expected \(2,\), got \(3,\)"):
        tree.load_state_dict({"first.weight": np.zeros(3)}, strict=False)


def test_train_and_eval_reach_every_module():
    tree = Tree()
    assert tree.training
    assert tree.eval() is tree
    assert not any(module.training for _, module in tree.named_modules())
    tree.train()
    assert all(module.training for _, module in tree.named_modules())


def test_freezing_a_branch_leaves_it_out_of_the_trainable_count():
    tree = Tree()
    tree.blocks[1].requires_grad(False)
    assert tree.count_parameters(trainable_only=True) == tree.count_parameters() - 4
    tree.requires_grad(True)
    assert tree.count_parameters(trainable_only=True) == tree.count_parameters()


def test_zero_grad_forgets_every_gradient():
    tree = Tree()
    tree(mv.tensor([1.0, 2.0])).sum().backward()
    assert tree.first.weight.grad is not None
    tree.zero_grad()
    assert all(p.grad is None for p in tree.parameters())


def test_astype_converts_parameters_and_gradients():
    tree = Tree()
    tree(mv.tensor([1.0, 2.0])).sum().backward()
    expected = tree.first.weight.grad
    assert tree.astype(np.float64) is tree
    assert all(p.dtype == np.float64 for p in tree.parameters())
    assert tree.first.weight.grad.dtype == np.float64
    np.testing.assert_array_equal(tree.first.weight.grad, expected)
    tree(mv.tensor([1.0, 2.0], dtype=np.float64)).sum().backward()
    np.testing.assert_array_equal(tree.first.weight.grad, 2 * expected)


def test_astype_refuses_what_has_no_gradient():
    with pytest.raises(DTypeError, match="floating-point dtype, got int64"):
        Tree().astype(np.int64)


def test_a_move_to_where_it_is_changes_nothing():
    tree = Tree()
    tree(mv.tensor([1.0, 2.0])).sum().backward()
    data, grad, version = tree.first.weight.data, tree.first.weight.grad, tree.first.weight.version
    assert tree.to("cpu") is tree
    tree.astype(np.float32)
    assert tree.first.weight.data is data
    assert tree.first.weight.grad is grad
    assert tree.first.weight.version == version
    assert tree.device == "cpu"


@pytest.mark.parametrize("device", DEVICES)
def test_a_move_takes_parameters_and_gradients_along(device):
    tree = Tree()
    tree(mv.tensor([1.0, 2.0])).sum().backward()
    expected = tree.first.weight.grad
    tree.to(device)
    assert tree.device.startswith(device)
    assert all(p.device == tree.device for p in tree.parameters())
    assert device_of(tree.first.weight.grad) == tree.device
    tree(mv.tensor([1.0, 2.0], device=device)).sum().backward()
    np.testing.assert_array_equal(to_host(tree.first.weight.grad), 2 * expected)
    assert type(tree.state_dict()["scale"]) is np.ndarray
    tree.load_state_dict({"scale": np.array(2.0)}, strict=False)
    assert tree.scale.item() == 2.0
    data = tree.first.weight.data
    assert tree.to(device).first.weight.data is data


def test_a_node_remembers_the_module_that_made_it():
    tree = Tree()
    y = tree(mv.tensor([1.0, 2.0]))
    assert y.node.module is tree
    assert y.node.edges[0].module is tree.first
    assert (y * 2).node.module is None


def test_a_hook_is_told_when_a_forward_begins_and_ends_also_when_it_fails():
    class Calls(mv.autograd.Hook):
        def __init__(self):
            self.log = []

        def before_module(self, module, inputs):
            self.log.append(("before", type(module).__name__, [x.shape for x in inputs]))

        def after_module(self, module):
            self.log.append(("after", type(module).__name__))

    class Outer(nn.Module):
        def __init__(self):
            self.inner = Leaf()

        def forward(self, x):
            return self.inner(x)

    calls = Calls()
    with mv.autograd.hooked(calls):
        Outer()(mv.tensor(np.ones((4, 2), np.float32)))
        with pytest.raises(ValueError, match="broadcast"):
            Outer()(mv.tensor(np.ones(3, np.float32)))
    Outer()(mv.tensor(np.ones(2, np.float32)))
    assert calls.log == [
        event
        for shape in ((4, 2), (3,))
        for event in (("before", "Outer", [shape]), ("before", "Leaf", [shape]), ("after", "Leaf"), ("after", "Outer"))
    ]


def test_the_module_is_restored_when_a_forward_fails():
    class Failing(nn.Module):
        def forward(self):
            raise KeyError("inside")

    with pytest.raises(KeyError):
        Failing()()
    assert (mv.tensor([1.0], requires_grad=True) * 2).node.module is None


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda tree: pickle.loads(pickle.dumps(tree))])
def test_a_copy_shares_nothing_and_trains_alone(duplicate):
    tree = Tree()
    optimizer = mv.optim.SGD(tree, 0.1)
    twin = duplicate(tree)
    own = mv.optim.SGD(twin, 0.1)
    twin(mv.tensor([1.0, 2.0])).sum().backward()
    own.step()
    np.testing.assert_array_equal(tree.first.weight.data, [0, 1])
    np.testing.assert_allclose(twin.first.weight.data, [-0.1, 0.8], rtol=1e-6)
    assert tree.first.weight.grad is None
    tree(mv.tensor([1.0, 2.0])).sum().backward()
    optimizer.step()
    np.testing.assert_array_equal(tree.first.weight.data, twin.first.weight.data)


def test_repr_shows_the_tree():
    class Model(nn.Module):
        def __init__(self):
            self.mlp = nn.Mlp(4, 8)

    assert re.sub(r"\(.*?\)", "()", repr(Model())) == (
        "Model()\n  mlp: Mlp()\n    fc1: Linear()\n    fc2: Linear()\n    drop1: Dropout()\n    drop2: Dropout()"
    )
    assert "fc1: Linear(4, 8, bias=True)" in repr(Model())


def test_a_module_without_forward_says_so():
    with pytest.raises(NotImplementedError, match="Module defines no forward"):
        nn.Module()(1)
