//go:build tools

// Package tools names what is built from this module: Docker Compose, which reads compose files and starts what they say.
// tests/backends/build.py builds it.
package tools

import (
	_ "github.com/docker/compose/v2/cmd"
)
