"""A request once it is typed: from a ``Call`` to an ``Answer``, without bytes, framework or KServe."""
