//go:build tools

// Package tools names what is built from this module: all-in-one, which takes spans by OTLP, keeps them in memory and answers queries.
// tests/backends/build.py builds it.
package tools

import (
	_ "github.com/jaegertracing/jaeger/cmd/all-in-one"
)
