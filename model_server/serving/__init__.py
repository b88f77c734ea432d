"""A request once it is typed: from a ``Call`` to an ``Answer``; knows no bytes, no framework and no KServe."""
