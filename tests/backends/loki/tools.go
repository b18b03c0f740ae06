//go:build tools

// Package tools names what is built from this module: loki, which stores log lines and answers queries over them.
// tests/backends/build.py builds it.
package tools

import (
	_ "github.com/grafana/loki/v3/cmd/loki"
)
