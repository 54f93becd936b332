"""What answers each op: a typed request, the data plane that it was asked of, and the ticket to answer it by."""
