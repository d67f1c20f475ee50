"""The test vectors are those of RFC 6962's reference implementation (certificate-transparency-go)."""

import hypothesis.strategies as st
import pytest
import scitt_cose
from hypothesis import given

from broker.audit import tree

INPUTS = (
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
)
LEAVES = [tree.leaf_hash(bytes.fromhex(text)) for text in INPUTS]
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)

records = st.lists(st.binary(max_size=8), min_size=1, max_size=70)


def in_hex(values: list[bytes]) -> list[str]:
    return [value.hex() for value in values]


def frontier_root(leaves: list[bytes]) -> bytes:
    frontier: list[bytes] = []
    for size, leaf in enumerate(leaves):
        tree.push(frontier, size, leaf)
    return tree.root_of(frontier)


def test_the_empty_tree_has_the_root_of_the_standard():
    assert tree.root_of([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert tree.tree_root([]) == tree.EMPTY_ROOT


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_of_the_published_vectors(size: int):
    assert frontier_root(LEAVES[:size]).hex() == ROOTS[size - 1]
    assert tree.tree_root(LEAVES[:size]).hex() == ROOTS[size - 1]


def test_an_inclusion_proof_is_that_of_the_published_vectors():
    assert [step.hex() for step in tree.inclusion_proof(LEAVES, 0)] == [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ]


def test_a_consistency_proof_is_that_of_the_published_vectors():
    assert [step.hex() for step in tree.consistency_proof(LEAVES, 6)] == [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


@given(records)
def test_the_frontier_has_the_root_of_the_whole_tree(data: list[bytes]):
    leaves = [tree.leaf_hash(record) for record in data]
    assert (
        frontier_root(leaves) == tree.tree_root(leaves) == bytes.fromhex(scitt_cose.merkle_root(in_hex(data)))
    )


@given(records, st.data())
def test_inclusion_proofs_verify_here_and_elsewhere(data: list[bytes], draw: st.DataObject):
    leaves = [tree.leaf_hash(record) for record in data]
    index = draw.draw(st.integers(0, len(leaves) - 1))
    proof, root = tree.inclusion_proof(leaves, index), tree.tree_root(leaves)
    assert in_hex(proof) == scitt_cose.inclusion_proof(in_hex(data), index)
    assert tree.verify_inclusion(leaves[index], index, len(leaves), proof, root)


@given(records, st.data())
def test_consistency_proofs_verify_here_and_elsewhere(data: list[bytes], draw: st.DataObject):
    leaves = [tree.leaf_hash(record) for record in data]
    old = draw.draw(st.integers(1, len(leaves)))
    proof, root = tree.consistency_proof(leaves, old), tree.tree_root(leaves)
    assert in_hex(proof) == scitt_cose.consistency_proof(in_hex(data), old, len(data))
    assert tree.verify_consistency(old, len(leaves), tree.tree_root(leaves[:old]), root, proof)


@given(records, st.data())
def test_a_proof_shows_nothing_about_another_leaf_place_or_tree(data: list[bytes], draw: st.DataObject):
    leaves = [tree.leaf_hash(bytes([i]) + record) for i, record in enumerate(data)]
    size, root = len(leaves), tree.tree_root(leaves)
    index = draw.draw(st.integers(0, size - 1))
    proof = tree.inclusion_proof(leaves, index)
    other = tree.leaf_hash(b"never written")
    assert not tree.verify_inclusion(other, index, size, proof, root)
    assert not tree.verify_inclusion(leaves[index], index, size, proof, other)
    assert not tree.verify_inclusion(leaves[index], index, size, [*proof, other], root)
    assert not tree.verify_inclusion(leaves[index], size, size, proof, root)
    if size > 1:
        assert not tree.verify_inclusion(leaves[index], (index + 1) % size, size, proof, root)
        assert not tree.verify_inclusion(leaves[index], index, size, proof[:-1], root)


@given(records, st.data())
def test_no_proof_makes_a_changed_past_consistent(data: list[bytes], draw: st.DataObject):
    leaves = [tree.leaf_hash(record) for record in data]
    old = draw.draw(st.integers(1, len(leaves)))
    changed = draw.draw(st.integers(0, old - 1))
    proof, old_root = tree.consistency_proof(leaves, old), tree.tree_root(leaves[:old])
    leaves[changed] = tree.leaf_hash(b"changed afterwards")
    forged, root = tree.consistency_proof(leaves, old), tree.tree_root(leaves)
    assert not tree.verify_consistency(old, len(leaves), old_root, root, proof)
    assert not tree.verify_consistency(old, len(leaves), old_root, root, forged)


def test_a_shrunken_or_empty_tree_is_consistent_with_nothing():
    root = tree.tree_root(LEAVES)
    assert not tree.verify_consistency(9, 8, root, root, [])
    assert not tree.verify_consistency(0, 8, tree.EMPTY_ROOT, root, [])
    assert not tree.verify_consistency(3, 8, root, root, [])


def test_there_is_no_proof_of_what_is_not_there():
    with pytest.raises(IndexError):
        tree.inclusion_proof(LEAVES, 8)
    with pytest.raises(IndexError):
        tree.consistency_proof(LEAVES, 0)
