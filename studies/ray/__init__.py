"""Ray: trials on a machine's or a cluster's cores and GPUs, and one training by several workers."""
