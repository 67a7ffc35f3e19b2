"""Published networks, one file per family; each file has a table `NETWORKS` from names to functions."""
