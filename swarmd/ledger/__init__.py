"""Credits on this node: its account, its stores, its votes, and what people are told of them."""
