"""From a layer to a measurement: search spaces, TFLite models, devices and the discipline of measuring."""
