"""Find convolutional networks that are as accurate as possible within a compute budget."""
