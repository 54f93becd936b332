"""``vinocast forecast``: a table of somebody's own in, forecasts of its series out, without a service."""
