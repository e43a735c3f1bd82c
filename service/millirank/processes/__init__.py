"""The processes of one machine: frontends that speak gRPC, a core a device, the records between them."""
