"""The online service: a query in, ranked products out."""
