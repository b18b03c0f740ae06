//go:build tools

// Package tools names what is built from this module: prometheus, which scrapes, stores and evaluates, and promtool,
// which checks and tests the rules that the specification leads to. tests/backends/build.py builds them.
package tools

import (
	_ "github.com/prometheus/prometheus/cmd/prometheus"
	_ "github.com/prometheus/prometheus/cmd/promtool"
)
