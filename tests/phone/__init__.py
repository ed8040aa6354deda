"""A phone without a phone: Android's own adbd in a Debian root, in namespaces of its own. See README.md."""
