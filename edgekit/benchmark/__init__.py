"""Measure a bundle on a device: ``plan`` decides, ``run`` carries out, ``statistics`` sums up, ``history`` keeps."""
