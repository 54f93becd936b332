"""Scripts for maintainers: comparisons and long runs behind docs/performance.md; ``vinocast bench`` is for everyone."""
