"""Topology: counts, diameters and bisections against graphs that are built wire by wire and cut in every way."""

from itertools import combinations, product

import pytest

from secondorder.analytic.topology import all_reduce_crossing, all_to_all_crossing, solve_topology
from secondorder.errors import InputError, UnknownName
from secondorder.scenarios.topology import Dragonfly, FatTree, LeafSpine, Rails, Topology, Torus, read_shape


class Graph:
    """Wires with their bandwidth, and what is asked of them by brute force."""

    def __init__(self):
        self.wires = {}

    def join(self, a, b, bandwidth=1.0):
        for ends in ((a, b), (b, a)):
            self.wires.setdefault(ends[0], {}).setdefault(ends[1], 0.0)
            self.wires[ends[0]][ends[1]] += bandwidth

    @property
    def links(self):
        return sum(len(others) for others in self.wires.values()) // 2

    def hosts(self):
        return [node for node in self.wires if node[0] == "host"]

    def diameter(self):
        """Breadth first from each host."""
        longest = 0
        for host in self.hosts():
            seen, edge, steps = {host}, [host], 0
            while set(self.hosts()) - seen:
                edge = {other for node in edge for other in self.wires[node]} - seen
                seen |= edge
                steps += 1
            longest = max(longest, steps)
        return longest

    def least_cut(self, one, other):
        """Greatest flow from the hosts of one side to those of the other: augmenting paths, breadth first."""
        room = {node: dict(others) for node, others in self.wires.items()}
        for host in one:
            room.setdefault("from", {})[host] = float("inf")
            room[host]["from"] = 0.0
        for host in other:
            room[host]["to"] = float("inf")
            room.setdefault("to", {})[host] = 0.0
        flow = 0.0
        while True:
            before, edge = {"from": None}, ["from"]
            while edge and "to" not in before:
                node = edge.pop(0)
                for near, left in room[node].items():
                    if left > 1e-12 and near not in before:
                        before[near] = node
                        edge.append(near)
            if "to" not in before:
                return flow
            path, node = [], "to"
            while before[node] is not None:
                path.append((before[node], node))
                node = before[node]
            least = min(room[a][b] for a, b in path)
            for a, b in path:
                room[a][b] -= least
                room[b][a] += least
            flow += least

    def bisection(self):
        """The least cut between any two halves of the hosts; the first host is always in one of them."""
        first, *rest = self.hosts()
        halves = combinations(rest, len(rest) // 2)
        if len(self.hosts()) == len(self.wires):  # nothing between them: the wires that are cut

            def cut(half):
                return sum(bandwidth for a in half for b, bandwidth in self.wires[a].items() if b not in half)

            return min(cut({first, *half}) for half in halves)
        return min(self.least_cut([first, *half], [host for host in rest if host not in half]) for half in halves)


def fat_tree(radix):
    graph, half = Graph(), radix // 2
    for pod, edge in product(range(radix), range(half)):
        for port in range(half):
            graph.join(("host", pod, edge, port), ("edge", pod, edge))
            graph.join(("edge", pod, edge), ("middle", pod, port))
            graph.join(("middle", pod, edge), ("core", edge, port))
    return graph


def leaf_spine(leaves, hosts, spines, uplink):
    graph = Graph()
    for leaf in range(leaves):
        for host in range(hosts):
            graph.join(("host", leaf, host), ("leaf", leaf))
        for spine in range(spines):
            graph.join(("leaf", leaf), ("spine", spine), uplink)
    return graph


def rails(nodes, count, spines):
    """The scale-up link of a node is a switch of its own that nothing fills."""
    graph = Graph()
    for rail in range(count):
        for node in range(nodes):
            graph.join(("host", node), ("leaf", rail))
        for spine in range(spines):
            graph.join(("leaf", rail), ("spine", spine), 100.0)
    return graph


def torus(sides):
    graph = Graph()
    for place in product(*(range(side) for side in sides)):
        for k, side in enumerate(sides):
            near = (*place[:k], (place[k] + 1) % side, *place[k + 1 :])
            if side > 2 or place[k] == 0:
                graph.join(("host", *place), ("host", *near))
    return graph


def dragonfly(routers, hosts, global_links):
    graph, groups = Graph(), routers * global_links + 1
    for group in range(groups):
        for a, b in combinations(range(routers), 2):
            graph.join(("router", group, a), ("router", group, b))
        for router, host in product(range(routers), range(hosts)):
            graph.join(("host", group, router, host), ("router", group, router))
    for a, b in combinations(range(groups), 2):  # port b - 1 of group a goes to group b, port a of b to a
        graph.join(("router", a, (b - 1) // global_links), ("router", b, a // global_links))
    return graph


def switches(graph):
    return sum(node[0] != "host" for node in graph.wires)


SMALL = [
    (FatTree(4), fat_tree(4)),
    *[
        (LeafSpine(*shape), leaf_spine(*shape))
        for shape in (
            (2, 4, 2, 1.0),
            (4, 2, 1, 1.0),
            (4, 2, 3, 1.0),
            (4, 3, 1, 2.0),
            (3, 4, 1, 1.0),
            (5, 2, 1, 0.5),
            (2, 3, 1, 4.0),
        )
    ],
    *[
        (Torus("x".join(map(str, sides))), torus(sides))
        for sides in (
            (4,),
            (8,),
            (2, 2),
            (4, 2),
            (4, 4),
            (6, 2),
            (2, 2, 2),
            (4, 2, 2),
            (4, 3),
            (3, 2),
            (3, 2, 2),
        )
    ],
]


@pytest.mark.parametrize(("shape", "graph"), SMALL, ids=[str(shape) for shape, _ in SMALL])
def test_counts_diameter_and_bisection_are_those_of_the_graph(shape, graph):
    assert shape.endpoints == len(graph.hosts())
    assert shape.switches == switches(graph)
    assert shape.links == graph.links
    assert shape.diameter == graph.diameter()
    assert shape.doubt == ""
    if shape.endpoints <= 12 or isinstance(shape, Torus):
        assert shape.bisection == pytest.approx(graph.bisection())


def test_sixteen_endpoints_are_bisected_by_a_known_cut_and_no_smaller_one():
    """All halves of 16 are too many to cut: every eleventh of them, and the cut that the formula is about."""
    for shape, graph, halved in (
        (FatTree(4), fat_tree(4), lambda host: host[1] < 2),
        (Torus("4x4"), torus((4, 4)), lambda host: host[1] < 2),
        (Torus("4x2x2"), torus((4, 2, 2)), lambda host: host[1] < 2),
    ):
        hosts = graph.hosts()
        one = [host for host in hosts if halved(host)]
        assert graph.least_cut(one, [host for host in hosts if host not in one]) == shape.bisection
        for half in list(combinations(hosts, 8))[::61]:
            assert graph.least_cut(half, [host for host in hosts if host not in half]) >= shape.bisection


@pytest.mark.parametrize(("nodes", "count", "spines"), [(4, 2, 0), (4, 3, 1), (6, 2, 2)])
def test_nodes_on_rails_have_full_bisection_without_a_spine(nodes, count, spines):
    shape, graph = Rails(nodes=nodes, rails=count, spines=spines), rails(nodes, count, spines)
    assert shape.links == graph.links
    assert shape.switches == switches(graph)
    assert shape.diameter == graph.diameter()
    assert shape.bisection == graph.bisection() == nodes * count / 2


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 1, 1), (2, 2, 1), (3, 1, 1)])
def test_a_dragonfly_has_the_counts_of_its_graph_and_no_wider_bisection(shape):
    found, graph = Dragonfly(*shape), dragonfly(*shape)
    assert found.endpoints == len(graph.hosts())
    assert found.switches == switches(graph)
    assert found.links == graph.links
    assert found.diameter == graph.diameter()
    assert found.doubt
    if found.groups % 2 == 0:
        assert found.bisection >= graph.bisection()


def test_a_torus_loses_its_middle_twice_over_where_the_ends_are_joined():
    """Two layers of links are cut and not one: counted once, a 3-D torus has half of its true bisection."""
    assert Torus("4x2").bisection == torus((4, 2)).bisection() == 4
    assert Torus("8").bisection == 2
    assert Torus("16x16x16").bisection == 2 * 16**2


def test_published_counts_are_met():
    """Al-Fares 2008: 27,648 hosts of 48-port switches; Kim 2008: a dragonfly of 64-port routers joins over 256 K."""
    assert FatTree(48).endpoints == 27_648
    assert Dragonfly(routers=32, hosts=16, global_links=16).endpoints == 262_656


def test_least_times_are_what_has_to_cross_over_what_can():
    """Bytes counted pair by pair on a leaf-spine that is thinned four to one."""
    fabric = Topology(shape=LeafSpine(4, 8, 2), link_bandwidth="50 GB/s", size="1 GB")
    one = range(16)
    crossing = sum(1e9 / 32 for a in one for b in range(32) if b not in one)
    across = 2 * 2 * 50e9
    answer = solve_topology(fabric)
    leaf = sum(1e9 / 32 for a in range(8) for b in range(32) if b not in range(8)) / (2 * 50e9)
    assert leaf > crossing / across  # one leaf's links are what binds
    assert answer.best("all_to_all_time").amount == pytest.approx(leaf)
    assert answer.best("bisection_bandwidth").amount == across
    assert answer.best("oversubscription").amount == 4
    assert answer["all_to_all_time"][0].amount == pytest.approx(1e9 * 31 / 32 / 50e9)
    assert answer["all_reduce_time"][1].amount == pytest.approx(2e9 * 31 / 32 / 50e9)  # the middle is not what binds


def test_a_ring_all_reduce_is_bound_by_its_ends_and_an_all_to_all_by_its_middle():
    ring = solve_topology(Topology(shape="torus 64", link_bandwidth="50 GB/s", size="1 GB"))
    assert ring.best("all_reduce_time").amount == pytest.approx(2e9 * 63 / 64 / 100e9)
    assert ring.best("all_to_all_time").amount == pytest.approx(64 * 1e9 / (4 * 100e9))


def test_times_broadcast_over_arrays():
    assert all_to_all_crossing(size=1e9, endpoints=[2, 4], bisection=1e9).tolist() == [0.5, 1.0]
    assert all_reduce_crossing(size=[0.0, 1e9], bisection=1e9).tolist() == [0.0, 1.0]


def test_what_is_only_a_bound_says_so():
    answer = solve_topology(
        Topology(shape="dragonfly routers=4 hosts=2 global_links=2", link_bandwidth="1 GB/s", size="1 MB")
    )
    assert not answer.best("bisection_bandwidth").in_domain
    assert "bound from above" in answer.best("all_to_all_time").remark
    assert (
        not solve_topology(Topology(shape="torus 5x4", link_bandwidth="1 GB/s", size="1 MB"))
        .best("bisection_bandwidth")
        .in_domain
    )


def test_a_shape_is_read_from_a_line_and_back():
    for line in ("fat-tree 8", "torus 8x8x4", "rails 32 rails=8", "leaf-spine 8 hosts=16 spines=4"):
        assert read_shape(str(read_shape(line))) == read_shape(line)


@pytest.mark.parametrize(
    ("shape", "error", "message"),
    [
        ("fat-tree 5", InputError, "radix: got 5, expected an even number"),
        ("torus 8x1", InputError, "sizes"),
        ("hypercube 8", UnknownName, "shape: got 'hypercube'"),
        ("leaf-spine leaves=1 hosts=1 spines=1", InputError, "at least 2 endpoints"),
        ("leaf-spine leaves=2", InputError, "without hosts, spines"),
    ],
)
def test_what_cannot_be_wired_is_refused_in_one_line(shape, error, message):
    with pytest.raises(error, match=message) as refused:
        Topology(shape=shape, link_bandwidth="1 GB/s", size="1 MB")
    assert "\n" not in str(refused.value)
