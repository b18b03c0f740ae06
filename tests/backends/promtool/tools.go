//go:build tools

// Package tools names what is built from this module: promtool, which checks and tests the rules that the
// specification leads to. tests/backends/build.py builds it.
package tools

import _ "github.com/prometheus/prometheus/cmd/promtool"
