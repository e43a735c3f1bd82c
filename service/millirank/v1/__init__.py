"""Stubs of the contract, generated from protos/millirank/v1 by `make proto`."""
