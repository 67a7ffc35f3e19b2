"""The networks of the literature, a file a family; each file has a table `NETWORKS` of names and makers."""
