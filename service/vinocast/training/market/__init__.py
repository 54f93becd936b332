"""The training of a market model: from candles to how far prices range, how much is traded, how wildly prices move."""
