"""The description of the HTTP routes: OpenAPI and its pages. Documentation only: no request is decoded here."""
