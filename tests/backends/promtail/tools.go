//go:build tools

// Package tools names what is built from this module: promtail, which reads log files and sends their lines to Loki.
// There is none after 3.6.15.
// tests/backends/build.py builds it.
package tools

import (
	_ "github.com/grafana/loki/v3/clients/cmd/promtail"
)
