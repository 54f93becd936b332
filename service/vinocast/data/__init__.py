"""Series from files, the published data set ETTh1, and what comes with the package."""
