"""JSON as text, spelled in any way, for tests that hold two readings of it against each other."""

from __future__ import annotations

from hypothesis import strategies as st


def json_object(pairs: list[tuple[str, str]]) -> str:
    """Give an object of names and the texts of their values; a name may stand twice."""
    return "{" + ",".join(f'"{name}":{value}' for name, value in pairs) + "}"


def json_values(names: st.SearchStrategy[str], leaves: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Give texts of values: leaves, and objects and arrays of them."""
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(st.tuples(names, inner), max_size=4).map(json_object),
            st.lists(inner, max_size=3).map(lambda items: "[" + ",".join(items) + "]"),
        ),
        max_leaves=12,
    )
