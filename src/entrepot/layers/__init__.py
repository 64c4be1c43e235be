"""What is inside layers: compression, tar members, the tree of files they make together."""
