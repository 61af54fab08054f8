"""A gateway under faults: slow, dying, lying and excessive clients and upstreams beside well-behaved ones."""
