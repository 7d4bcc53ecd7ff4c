"""What lies between two vertices of a graph: biconnected blocks (Hopcroft and Tarjan, CACM 16, 1973). Pure.

A graph is a list of neighbors per vertex, without loops and without double edges.
"""

from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

Graph = Sequence[Sequence[int]]
_Node = TypeVar("_Node", bound=Hashable)


def connected(groups: Sequence[Iterable[_Node]]) -> list[list[int]]:
    """Which groups hang together because they share a node, directly or through others; by position."""
    above: dict[_Node, _Node] = {}

    def top(node: _Node) -> _Node:
        while (parent := above.setdefault(node, node)) != node:
            above[node] = node = above[parent]
        return node

    first: list[_Node] = []
    for group in groups:
        node, *others = group
        first.append(node)
        root = top(node)
        for other in others:
            above[top(other)] = root
    pieces: dict[_Node, list[int]] = {}
    for at, node in enumerate(first):
        pieces.setdefault(top(node), []).append(at)
    return list(pieces.values())


def between(graph: Graph, pairs: Iterable[tuple[int, int]]) -> set[int]:
    """All vertices on any simple path between the ends of any pair; ends that are not connected have none.

    They are the vertices of the blocks on the way from one end to the other through the tree of blocks.
    """
    partners: dict[int, set[int]] = {}
    for a, b in pairs:
        partners.setdefault(a, set()).add(b)
    blocks = biconnected(graph)
    tree: list[list[int]] = [[] for _ in range(len(graph) + len(blocks))]
    for block, vertices in enumerate(blocks, len(graph)):
        tree[block] = vertices
        for vertex in vertices:
            tree[vertex].append(block)
    found: set[int] = set()
    for start, goals in partners.items():
        for node in _ways(tree, start, goals):
            if node >= len(graph):
                found.update(blocks[node - len(graph)])
    return found


def _ways(tree: Graph, start: int, goals: set[int]) -> Iterable[int]:
    """The nodes of a tree between `start` and any goal."""
    parents = {start: start}
    order = [start]
    for node in order:  # grows while it is walked
        for near in tree[node]:
            if near not in parents:
                parents[near] = node
                order.append(near)
    wanted = goals & parents.keys()
    for node in reversed(order):
        if node in wanted:
            wanted.add(parents[node])
            yield node


def biconnected(graph: Graph) -> list[list[int]]:
    """The vertices of each biconnected block; a bridge is a block of two, a vertex without neighbors is in none."""
    order = [-1] * len(graph)
    low = [0] * len(graph)
    blocks: list[list[int]] = []
    count = 0
    for root in range(len(graph)):
        if order[root] >= 0:
            continue
        order[root] = low[root] = count
        count += 1
        open_ = [root]
        path = [(root, -1, iter(graph[root]))]
        while path:
            vertex, parent, rest = path[-1]
            for near in rest:
                if order[near] < 0:
                    order[near] = low[near] = count
                    count += 1
                    open_.append(near)
                    path.append((near, vertex, iter(graph[near])))
                    break
                if near != parent:
                    low[vertex] = min(low[vertex], order[near])
            else:
                path.pop()
                if parent < 0:
                    continue
                low[parent] = min(low[parent], low[vertex])
                if low[vertex] >= order[parent]:
                    block = [parent]
                    while block[-1] != vertex:
                        block.append(open_.pop())
                    blocks.append(block)
    return blocks
