//go:build tools

// Package tools names what is built from this module: alertmanager, which groups, inhibits and routes alerts, and amtool, which
// checks its configuration. tests/backends/build.py builds them.
package tools

import (
	_ "github.com/prometheus/alertmanager/cmd/alertmanager"
	_ "github.com/prometheus/alertmanager/cmd/amtool"
)
