"""The operator API: what people who run the broker can see and do over HTTP.

To add a resource, write one file here, with
* the shapes of what goes in and out (`Shape`, `Query`, `PagedQuery`, `Page[...]` of `shapes.py`),
* a class whose methods take `Asked[query, body]` and return a shape, or raise one of `broker/errors.py`,
* `operations()`: one `Operation` for each, with the one right that it needs,
and name the class in `site.py`. Authentication, rights, closed bodies, errors, cursors' seals and the
OpenAPI document come with it. Changes go through a port that records them, with `asked.operator.by` as
`by`. `tests/attacks/test_admin.py` tries every operation without its right.
"""

from broker.edges.admin.site import admin_route

__all__ = ["admin_route"]
