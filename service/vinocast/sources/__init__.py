"""Where messages of a market come from: a feed over the network and its candles, or a file."""
