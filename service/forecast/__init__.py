"""Windows in, forecasts out."""
